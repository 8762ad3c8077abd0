use nameko_cachetools::{RemoteError, Request, Route, Transport};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{MS, result, send, text};

nameko_cachetools_testkit::service! {
    trait Products = "products" {
        fn get(&mut self, id: String, currency: String = "EUR".to_owned(),) -> Result<String, RemoteError>;
        fn count(&mut self) -> Result<usize, Answer>;
    }
}

#[derive(Default)]
struct Catalog {
    asked: usize,
}

impl Products for Catalog {
    fn get(&mut self, id: String, currency: String) -> Result<String, RemoteError> {
        self.asked += 1;
        match id.as_str() {
            "gone" => Err(RemoteError::new("NotFound", id)),
            "bug" => unreachable!("no such state"),
            _ => Ok(format!("{id} in {currency}")),
        }
    }

    fn count(&mut self) -> Result<usize, Answer> {
        if self.asked < 3 {
            Ok(self.asked)
        } else {
            Err(Answer::nack())
        }
    }
}

async fn call(transport: &impl Transport, body: Value) -> String {
    let route = Route::new("products", "get").unwrap();
    let response = transport.request(Request::new(route, body.to_string())).await;
    String::from_utf8_lossy(&response.unwrap().body).into_owned()
}

#[tokio::test(start_paused = true)]
async fn an_implementation_answers_and_keeps_its_state() {
    let broker = FakeBroker::new();
    broker.deploy(Catalog::default().into_service().after(MS(20)));
    let transport = broker.transport();
    let start = Instant::now();
    assert_eq!(
        result(&transport, "products.get", json!(["o1"])).await,
        "o1 in EUR"
    );
    assert_eq!(start.elapsed(), MS(20));
    assert_eq!(
        call(&transport, json!({"args": ["o1"], "kwargs": {"currency": "SEK"}})).await,
        r#"{"result": "o1 in SEK", "error": null}"#
    );
    assert_eq!(result(&transport, "products.count", json!([])).await, 2);
    assert!(
        text(&transport, "products.get", json!(["gone"]))
            .await
            .contains(r#""exc_type": "NotFound""#)
    );
    assert!(
        send(&transport, "products.count", json!([])).await.is_err(),
        "an answer of any kind"
    );
    assert_eq!(broker.verify(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn arguments_that_do_not_fit_are_reported_by_name() {
    let broker = FakeBroker::new();
    broker.deploy(Catalog::default().into_service());
    let transport = broker.transport();
    let misfits = [
        (json!({"args": [], "kwargs": {}}), "id is missing"),
        (
            json!({"args": ["a", "b", "c"], "kwargs": {}}),
            "takes 2 arguments, 3 were given",
        ),
        (
            json!({"args": ["a"], "kwargs": {"id": "b"}}),
            "multiple values for id",
        ),
        (
            json!({"args": ["a"], "kwargs": {"page": 1}}),
            "unexpected keyword argument page",
        ),
        (
            json!({"args": [7], "kwargs": {}}),
            "id: invalid type: integer `7`, expected a string",
        ),
    ];
    for (body, _) in &misfits {
        let reply = call(&transport, body.clone()).await;
        assert!(reply.contains("IncorrectSignature"), "{reply}");
    }
    let unknown = text(&transport, "products.fetch", json!([])).await;
    assert!(unknown.contains("MethodNotFound"), "{unknown}");
    let violations = broker.verify().unwrap_err();
    assert_eq!(violations.count(), 6);
    let report = violations.to_string();
    for (_, why) in misfits {
        assert!(
            report.contains(&format!("got {why}")),
            "{why:?} is not in\n{report}"
        );
    }
    assert!(
        report.contains(r#"fits get(id, currency="EUR".to_owned())"#),
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_push_goes_before_the_service_and_a_panic_in_it_fails_the_test() {
    let broker = FakeBroker::new();
    broker.deploy(Catalog::default().into_service());
    broker.push("products.get", [Answer::ok("pushed")]);
    let transport = broker.transport();
    assert_eq!(result(&transport, "products.get", json!(["o1"])).await, "pushed");
    assert!(
        text(&transport, "products.get", json!(["bug"]))
            .await
            .contains("AssertionError")
    );
    assert_eq!(
        result(&transport, "products.get", json!(["o1"])).await,
        "o1 in EUR"
    );
    let report = broker.verify().unwrap_err().to_string();
    assert!(report.contains("no such state"), "{report}");
}
