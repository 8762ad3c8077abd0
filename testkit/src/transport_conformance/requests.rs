//! Checks of single requests and of many at once.

use std::{sync::Arc, time::Duration};

use nameko_cachetools::{JSON, Transport, TransportError};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Harness, Outcome, RAISED, SLOW, TYPED, UNKNOWN_SERVICE, echo, every_byte, reply_headers, request,
    request_to, under_way,
};
use crate::conformance::{ensure, within};

pub(super) async fn a_request_gets_its_reply(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    echo(harness, &transport, 1).await?;
    echo(harness, &transport, "one after the other").await
}

pub(super) async fn a_thousand_requests_at_once_get_their_own_replies(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    let mut tasks = JoinSet::new();
    for i in 0..1000 {
        let transport = Arc::clone(&transport);
        tasks.spawn(async move {
            let request = request("echo", format!("mark {i}"));
            let body = request.body.clone();
            transport
                .request(request)
                .await
                .map(|response| response.body == body)
        });
    }
    let all = async {
        while let Some(reply) = tasks.join_next().await {
            let is_own = reply
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())?;
            ensure!(is_own, "a request got another request's reply");
        }
        Ok(())
    };
    within(harness.patience(), "1,000 requests at once", all).await?
}

pub(super) async fn a_silent_service_holds_up_no_other_request(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    let silent = under_way(harness, &transport, "silent").await?;
    ensure!(!silent.is_finished(), "the service's `silent` was answered");
    silent.abort();
    Ok(())
}

pub(super) async fn bodies_arrive_byte_exact(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    // 128 KiB is RabbitMQ's usual frame size: beyond it, a body travels in pieces.
    let sizes = [0, 1, 131_000, 131_072, 1 << 20].map(|size| Value::from("x".repeat(size)));
    let texts = ["é😀\u{0}\u{7f}", "line\nline\r\n\t\"\\"].map(Value::from);
    for mark in sizes.into_iter().chain(texts) {
        echo(harness, &transport, mark).await?;
    }
    // JSON of the same meaning in other bytes must not be made "nicer" on the way.
    let mut odd = request("echo", 0);
    odd.body = "{ \"kwargs\":{},\n\t\"args\" : [1.0, 1e3, \"\\u00e9\"] } ".into();
    let body = odd.body.clone();
    let response = within(harness.patience(), "an echo", transport.request(odd)).await?;
    ensure!(
        response.is_ok_and(|response| response.body == body),
        "the body's spacing or spelling was changed"
    );
    Ok(())
}

pub(super) async fn headers_arrive_with_their_types(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    let sent = json!({
        "nameko.call_id_stack": ["standalone_rpc_proxy.call.1", "conformance.headers.2"],
        "nameko.language": "sv",
        "nameko.text": "é😀 with \"quotes\"",
        "nameko.empty": "",
        "nameko.small": 7,
        "nameko.negative": -7,
        "nameko.large": 9_007_199_254_740_993_i64,
        "nameko.float": 0.1,
        "nameko.yes": true,
        "nameko.no": false,
        "nameko.list": [1, "two", [3.5]],
        "nameko.map": {"a": {"b": [1, 2]}},
        "without_prefix": "x",
    });
    let mut request = request("headers", 0);
    for (name, value) in sent.as_object().into_iter().flatten() {
        request.headers.push((name.clone().into(), value.clone()));
    }
    let response = within(harness.patience(), "a request", transport.request(request)).await?;
    let response = response.map_err(|error| error.to_string())?;
    let mut arrived: Value = serde_json::from_slice(&response.body).map_err(|error| error.to_string())?;
    if let (Some(arrived), Some(sent)) = (arrived.as_object_mut(), sent.as_object()) {
        arrived.retain(|name, _| sent.contains_key(name)); // a transport may add its own
    }
    ensure!(arrived == sent, "headers {sent} arrived as {arrived}");
    Ok(())
}

pub(super) async fn replies_arrive_byte_exact_with_their_content_type(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    let cases = [
        ("typed", Some(TYPED), every_byte()),
        ("untyped", None, "untyped".into()),
    ];
    for (method, content_type, body) in cases {
        let response = within(
            harness.patience(),
            "a request",
            transport.request(request(method, 0)),
        )
        .await?;
        let response =
            response.map_err(|error| format!("a reply of {content_type:?} became an error: {error}"))?;
        ensure!(
            response.content_type.as_deref() == content_type,
            "content type {content_type:?} arrived as {:?}",
            response.content_type
        );
        ensure!(
            response.body == body,
            "a reply's {} bytes were changed",
            body.len()
        );
    }
    Ok(())
}

pub(super) async fn reply_headers_arrive_with_their_types(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    let call = transport.request(request("with_headers", 0));
    let response = within(harness.patience(), "a request", call).await?;
    let mut arrived = response.map_err(|error| error.to_string())?.headers;
    arrived.sort_by(|(a, _), (b, _)| a.cmp(b));
    ensure!(arrived == reply_headers(), "they arrived as {arrived:?}");
    Ok(())
}

pub(super) async fn an_error_of_the_service_is_a_reply(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    let response = within(
        harness.patience(),
        "a request",
        transport.request(request("raise", 0)),
    )
    .await?;
    let response = response.map_err(|error| format!("it became an error: {error}"))?;
    ensure!(response.body == RAISED, "it arrived as {:?}", response.body);
    ensure!(
        response.content_type.as_deref() == Some(JSON),
        "it came as {:?}",
        response.content_type
    );
    Ok(())
}

pub(super) async fn an_unknown_service_is_told_and_harms_nobody(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    let mut tasks = JoinSet::new();
    for i in 0..20 {
        let transport = Arc::clone(&transport);
        let service_is_known = i % 2 == 0;
        tasks.spawn(async move {
            let request = match service_is_known {
                true => request("echo", i),
                false => request_to(UNKNOWN_SERVICE, "echo", i),
            };
            (service_is_known, transport.request(request).await)
        });
    }
    let all = async {
        while let Some(outcome) = tasks.join_next().await {
            match outcome.map_err(|error| error.to_string())? {
                (true, Ok(_)) | (false, Err(TransportError::UnknownService)) => {}
                (true, Err(error)) => {
                    return Err(format!("a request to a known service failed beside it: {error}"));
                }
                (false, other) => return Err(format!("expected UnknownService, got {other:?}")),
            }
        }
        Ok(())
    };
    within(harness.patience(), "requests to an unknown service", all).await??;
    echo(harness, &transport, "afterwards").await
}

pub(super) async fn a_future_may_wait_before_its_first_poll(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    drop(transport.request(request("echo", "never polled")));
    let early = request("echo", "polled late");
    let body = early.body.clone();
    let future = transport.request(early);
    sleep(SLOW).await;
    let response = within(harness.patience(), "an echo", future).await?;
    let response = response.map_err(|error| error.to_string())?;
    ensure!(response.body == body, "it brought another reply");
    Ok(())
}

pub(super) async fn a_late_reply_to_a_dropped_request_is_ignored(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    for _ in 0..10 {
        let slow = timeout(SLOW / 6, transport.request(request("slow", "dropped"))).await;
        ensure!(
            slow.is_err(),
            "the service's `slow` was quick, so nothing could be late"
        );
    }
    // Until the last late reply has come, and beyond.
    for i in 0..30 {
        echo(harness, &transport, format!("between late replies {i}")).await?;
        sleep(SLOW / 10).await;
    }
    ensure!(
        transport.state().borrow().is_ready(),
        "a late reply cost the connection"
    );
    Ok(())
}

pub(super) async fn a_connected_transport_is_ready(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    ensure!(
        transport.state().borrow().is_ready(),
        "its state is {:?}",
        *transport.state().borrow()
    );
    echo(harness, &transport, 0).await?;
    ensure!(
        transport.state().borrow().is_ready(),
        "after a request its state is {:?}",
        *transport.state().borrow()
    );
    Ok(())
}

pub(super) async fn pointers_forward_everything(harness: &dyn Harness) -> Outcome {
    let inner = harness.transport().await;
    let boxed: Box<dyn Transport> = Box::new(Arc::clone(&inner));
    let outer: Arc<dyn Transport> = Arc::new(boxed);
    echo(harness, &outer, "through three pointers").await?;
    ensure!(
        outer.clock() == inner.clock(),
        "the clock is {:?}, not {:?}",
        outer.clock(),
        inner.clock()
    );
    if harness.closes() {
        within(harness.patience(), "closing", outer.close(Duration::ZERO)).await?;
        let (own, seen) = (inner.state().borrow().clone(), outer.state().borrow().clone());
        ensure!(own == seen, "the state is {seen:?}, not {own:?}");
        let refused = inner.request(request("echo", 0)).await;
        ensure!(
            matches!(refused, Err(TransportError::Closed)),
            "`close` did not reach the transport"
        );
    }
    Ok(())
}
