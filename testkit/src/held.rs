//! A call that waits for the test's own answer.

use std::{fmt, ops::Deref, sync::Arc};

use crate::{Answer, Call, hub::Hub};

/// A call that a rule with [`hold`](crate::Rule::hold) handed to the test. Derefs to the [`Call`].
///
/// Dropped without an answer, the caller gets none, as from [`Answer::never`].
#[must_use = "the caller waits until this is answered with `reply`"]
pub struct HeldCall {
    pub(crate) hub: Arc<Hub>,
    pub(crate) call: Arc<Call>,
    pub(crate) rule: Option<usize>,
}

impl HeldCall {
    /// Answers the call. If the caller has given up meanwhile, the answer is too late and changes nothing: the
    /// timeline says so.
    ///
    /// ```
    /// # use nameko_cachetools::{Request, Route, Transport};
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = FakeBroker::new();
    /// broker.on("products.get").hold();
    /// # let (transport, request) = (broker.transport(), Request::new(Route::new("products", "get")?, r#"{"args": ["o1"], "kwargs": {}}"#));
    /// let caller = tokio::spawn(async move { transport.request(request).await });
    /// let held = broker.next_call("products.get").await;
    /// assert_eq!(held.args, ["o1"]);
    /// // whatever is to happen while the service works
    /// held.reply(Answer::ok(1));
    /// assert_eq!(caller.await??.body, r#"{"result": 1, "error": null}"#);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reply(self, answer: impl Into<Answer>) {
        self.hub.answer(&self.call, self.rule, answer.into());
    }

    /// Whether the caller still waits.
    pub fn is_awaited(&self) -> bool {
        self.hub.lock().waiting.contains_key(&self.call.number)
    }
}

impl Deref for HeldCall {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

impl fmt::Debug for HeldCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeldCall(#{} {})", self.call.number, self.call)
    }
}
