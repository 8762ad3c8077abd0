//! A call being made: its options, and the future of its answer.

use std::{
    cell::Cell,
    fmt,
    future::{Future, IntoFuture, ready as at_once},
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context as Poller, Poll, ready},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    args::Args,
    context::Context,
    driver,
    engine::{Engine, Hit},
    error::CallError,
    explain::explain,
    invalidate::Force,
    options::{Mode, Options},
    outcome::{Outcome, Reply},
};

/// One call, made when it is awaited.
///
/// Options are set on it rather than among the arguments, so that they never clash with a method's keywords. `T` is
/// what the result is decoded to: any serde type; `serde_json::Value` for the untyped.
///
/// What takes a future only (`tokio::spawn`, `block_on`, `join_all`) takes
/// [`into_future()`](IntoFuture::into_future) of it, which borrows nothing.
///
/// ```
/// # use nameko_cachetools::{CachedRpcProxy, Client, Reply, Request, Response, args, transport_fn};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let transport = transport_fn(|_: Request| async { Ok(Response::json(r#"{"result": 7, "error": null}"#)) });
/// # let client = Client::new(transport);
/// # let orders = CachedRpcProxy::builder("orders").build(&client);
/// let open: Reply<serde_json::Value> = orders
///     .call("search", args!["open", limit = 50])
///     .timeout(Duration::from_secs(2))
///     .max_age(Duration::from_secs(60))
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a call is made when it is awaited"]
pub struct Call<'a, T, P, K> {
    engine: &'a Arc<Engine>,
    method: &'a str,
    args: Args<P, K>,
    options: Option<Box<Options>>,
    decoded_to: PhantomData<fn() -> T>,
}

impl<'a, T, P, K> Call<'a, T, P, K> {
    #[inline]
    pub(crate) fn new(engine: &'a Arc<Engine>, method: &'a str, args: Args<P, K>) -> Self {
        Self {
            engine,
            method,
            args,
            options: None,
            decoded_to: PhantomData,
        }
    }

    /// The limit of this whole call instead of `call_timeout`; `None`: as long as the connection lives.
    pub fn timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        let limit = limit.into();
        self.with(|options| options.timeout = Some(limit))
    }

    /// Context of this call, merged over the client's. It goes out as headers and varies the key.
    pub fn context(self, context: Context) -> Self {
        self.with(|options| options.context = Some(context))
    }

    /// The oldest answer that this call accepts from the cache, in any case: fresh, or standing in for an error.
    pub fn max_age(self, most: Duration) -> Self {
        self.with(|options| options.max_age = Some(most))
    }

    /// Answers from the cache (an entry past its freshness included, as long as it may stand in for an error) or with
    /// [`CallError::NotCached`]; sends nothing.
    pub fn only_if_cached(self) -> Self {
        self.with(|options| options.mode = Mode::OnlyIfCached)
    }

    /// Asks the service, whatever the cache holds, and caches the answer. An error stays an error.
    pub fn reload(self) -> Self {
        self.with(|options| options.mode = Mode::Reload)
    }

    /// Makes a plain call: the cache is neither asked nor filled.
    pub fn bypass(self) -> Self {
        self.with(|options| options.mode = Mode::Bypass)
    }

    /// Says that the answer is the same for every caller: identity, language and other context stay out of the key.
    /// The context is sent all the same.
    pub fn shared(self) -> Self {
        self.with(|options| options.shared = true)
    }

    /// Stores the answer with a tag, by which it can be [invalidated](crate::Scope::Tag) together with others.
    /// Callers who join one request share the tags of the first.
    pub fn tag(self, tag: impl Into<String>) -> Self {
        let tag = tag.into();
        self.with(|options| options.tags.push(tag))
    }

    /// Whether the broker writes this request to disk.
    pub fn persistent(self, persistent: bool) -> Self {
        self.with(|options| options.persistent = Some(persistent))
    }

    /// How long this request may wait in the service's queue before the broker drops it; `None`: for ever.
    pub fn expiration(self, expiration: impl Into<Option<Duration>>) -> Self {
        let expiration = expiration.into();
        self.with(|options| options.expiration = Some(expiration))
    }

    /// Makes no call: says what this one would do now, and why, in a few lines for people to read. Their wording is no
    /// contract. They hold no argument, no value and no context.
    ///
    /// The store is read, as a call would; nothing is sent, changed or counted.
    ///
    /// ```
    /// # use nameko_cachetools::{CacheFirst, CacheFirstRpcProxy, Client, Request, Response, args, transport_fn};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::new(transport_fn(|_: Request| async { Ok(Response::json(r#"{"result": 7, "error": null}"#)) }));
    /// let products = CacheFirstRpcProxy::builder("products")
    ///     .policy(CacheFirst::fresh_for(Duration::from_secs(30)))
    ///     .build(&client);
    /// let why = products.call::<u64, _>("stock", args!["the_odyssey"]).explain().await?;
    /// assert!(why.ends_with("store: nothing\nso: sends a request, for up to 30s\n"), "{why}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for the call itself, if it can't be sent: [`CallError::InvalidRoute`], [`CallError::Arguments`].
    pub fn explain(self) -> impl Future<Output = Result<String, CallError>> + Send + use<T, P, K>
    where
        P: Serialize,
        K: Serialize,
    {
        let options = self.options.map(|options| *options).unwrap_or_default();
        let prepared = self.engine.prepare(self.method, &self.args, options);
        async move { Ok(explain(&prepared?).await) }
    }

    /// Makes no call: forgets what is cached for this one, for failover too. An answer to it that is still on its way
    /// is not cached, and no call made from now on joins it. That holds at once; awaiting it frees what was stored.
    ///
    /// Context and [`shared`](Self::shared) say whose answer is meant, as for the call itself. For more than one call
    /// there is [`Client::invalidate`](crate::Client::invalidate).
    pub fn invalidate(self) -> impl Future<Output = ()> + Send + use<T, P, K>
    where
        P: Serialize,
        K: Serialize,
    {
        let options = self.options.unwrap_or_default();
        self.engine
            .invalidate(self.method, &self.args, &options, Force::Hard)
    }

    /// Makes no call: makes what is cached for this one stale, at once. It is not served as fresh any more, and may
    /// still stand in for an answer that fails or is slow.
    pub fn expire(self) -> impl Future<Output = ()> + Send + use<T, P, K>
    where
        P: Serialize,
        K: Serialize,
    {
        let options = self.options.unwrap_or_default();
        self.engine
            .invalidate(self.method, &self.args, &options, Force::Soft)
    }

    fn with(mut self, set: impl FnOnce(&mut Options)) -> Self {
        set(self.options.get_or_insert_default());
        self
    }
}

impl<T, P, K> IntoFuture for Call<'_, T, P, K>
where
    T: DeserializeOwned + Send + Sync + 'static,
    P: Serialize,
    K: Serialize,
{
    type Output = Result<Reply<T>, CallError>;
    type IntoFuture = CallFuture<T>;

    /// Writes key and request, and looks into the cache. The future that comes of it borrows nothing.
    // Inlined, as all of the hit's way from here on: its three words then stay three words. As one they would be copied
    // twice, each time in wider steps than they were written in, for which processors wait.
    #[inline(always)]
    fn into_future(self) -> CallFuture<T> {
        let options = self.options.as_ref();
        if options.is_none_or(|options| options.leave_hits_alone())
            && let Some(hit) = self.engine.hit(self.method, &self.args)
        {
            return CallFuture(State::Hit(hit));
        }
        CallFuture(State::Pending(self.wait()))
    }
}

impl<T, P, K> Call<'_, T, P, K>
where
    T: DeserializeOwned + Send + Sync + 'static,
    P: Serialize,
    K: Serialize,
{
    /// Kept out of line, so that the hit stays small.
    #[inline(never)]
    fn wait(self) -> Pending<T> {
        let options = self.options.map(|options| *options).unwrap_or_default();
        match self.engine.prepare(self.method, &self.args, options) {
            Ok(prepared) => Box::pin(driver::drive(prepared)),
            Err(error) => {
                self.engine.counters.count(Err(&error));
                Box::pin(at_once(Err(error)))
            }
        }
    }
}

impl<T, P, K> fmt::Debug for Call<'_, T, P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("service", &self.engine.service())
            .field("method", &self.method)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The future of a call's answer. Dropping it abandons the call; what a cached call has sent goes on and fills the
/// cache all the same.
#[must_use = "futures do nothing unless they are awaited"]
pub struct CallFuture<T>(State<T>);

enum State<T> {
    Hit(Hit<T>),
    Pending(Pending<T>),
    Done,
}

type Pending<T> = Pin<Box<dyn Future<Output = Result<Reply<T>, CallError>> + Send>>;

// Nothing in it is pinned in place: the pending future has a box of its own.
impl<T> Unpin for CallFuture<T> {}

impl<T> Future for CallFuture<T> {
    type Output = Result<Reply<T>, CallError>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Poller<'_>) -> Poll<Self::Output> {
        if matches!(self.0, State::Hit(_))
            && (is_free_of_charge() || has_its_turn(cx))
            && let State::Hit(Hit { slot, age, fresh_for }) = mem::replace(&mut self.0, State::Done)
        {
            return Poll::Ready(Ok(Reply::new(slot, Outcome::hit(age, fresh_for))));
        }
        self.poll_pending(cx)
    }
}

impl<T> CallFuture<T> {
    /// Kept out of line, so that the hit stays small.
    #[inline(never)]
    fn poll_pending(&mut self, cx: &mut Poller<'_>) -> Poll<Result<Reply<T>, CallError>> {
        let State::Pending(pending) = &mut self.0 else {
            return Poll::Pending; // a hit that waits for its turn, or a future that was polled after its end
        };
        let result = ready!(pending.as_mut().poll(cx));
        self.0 = State::Done;
        Poll::Ready(result)
    }
}

/// A loop over hits must let other tasks run now and then: every eighth hit takes one of the 128 turns that tokio gives
/// a task. (Would each take one, that alone were a tenth of its time.)
#[inline]
fn is_free_of_charge() -> bool {
    thread_local! {
        static HITS: Cell<u8> = const { Cell::new(0) };
    }
    let hits = HITS.get().wrapping_add(1);
    HITS.set(hits);
    !hits.is_multiple_of(8)
}

#[inline(never)]
fn has_its_turn(cx: &mut Poller<'_>) -> bool {
    match tokio::task::coop::poll_proceed(cx) {
        Poll::Ready(turn) => {
            turn.made_progress();
            true
        }
        Poll::Pending => false,
    }
}

impl<T> fmt::Debug for CallFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Hit(_) => "CallFuture(hit)",
            State::Pending(_) => "CallFuture(pending)",
            State::Done => "CallFuture(done)",
        })
    }
}
