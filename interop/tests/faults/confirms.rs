//! What the broker says of requests.

use std::time::Duration;

use nameko_cachetools::{Delivery, Request, Route, TransportError};
use nameko_cachetools_testkit::fault_proxy::Frame;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    scene::{AT_ONCE, CALLS, Scene, Waiting, own_reply, within},
    stage::{Row, Stage},
    subject::Subject,
};

const ACK: (u16, u16) = (60, 80);
const NACK: (u16, u16) = (60, 120);

pub(crate) async fn nack<T: Subject>(stage: &Stage) -> Row {
    rejected::<T>(stage, 1).await
}

/// One nack with `multiple` for ten requests.
pub(crate) async fn nack_of_many<T: Subject>(stage: &Stage) -> Row {
    rejected::<T>(stage, 10).await
}

/// The service gets the requests all the same: who was refused can't be sure.
async fn rejected<T: Subject>(stage: &Stage, each: usize) -> Row {
    let scene = Scene::<T>::new(stage).await;
    scene.proxy.rewrite(of_many(each, NACK));
    let waiting = Waiting::start(&scene.transport, || scene.request("silent", "x"));
    let is_rejected = |error: &TransportError| {
        matches!(error, TransportError::Rejected) && error.delivery() == Delivery::Unknown
    };
    let (noticed, error) = waiting.end(AT_ONCE, is_rejected).await;
    scene.proxy.heal();
    same_connection(&scene);
    scene.end().await;
    Row {
        end: Err(error),
        noticed,
        back: None,
    }
}

pub(crate) async fn confirm_of_many<T: Subject>(stage: &Stage) -> Row {
    let scene = Scene::<T>::new(stage).await;
    scene.proxy.rewrite(of_many(10, ACK));
    let start = Instant::now();
    beside_unknown(&scene).await;
    let noticed = start.elapsed();
    scene.proxy.heal();
    same_connection(&scene);
    scene.end().await;
    Row {
        end: Ok(()),
        noticed,
        back: None,
    }
}

/// A call waits for its reply, not for its confirm.
pub(crate) async fn confirm_never_comes<T: Subject>(stage: &Stage) -> Row {
    let scene = Scene::<T>::new(stage).await;
    scene.proxy.rewrite(|frame| match frame.method() {
        Some(ACK) => vec![],
        _ => vec![frame],
    });
    let start = Instant::now();
    scene.echoes(200).await;
    let noticed = start.elapsed();
    same_connection(&scene);
    scene.end().await;
    Row {
        end: Ok(()),
        noticed,
        back: None,
    }
}

pub(crate) async fn service_queue_missing<T: Subject>(stage: &Stage) -> Row {
    let scene = Scene::<T>::new(stage).await;
    let start = Instant::now();
    let error = scene_unknown(&scene).await;
    let noticed = start.elapsed();
    beside_unknown(&scene).await;
    same_connection(&scene);
    scene.end().await;
    Row {
        end: Err(error),
        noticed,
        back: None,
    }
}

/// Ten to nobody among forty that are answered: each gets its own end.
async fn beside_unknown<T: Subject>(scene: &Scene<'_, T>) {
    let mut calls = JoinSet::new();
    for n in 0..CALLS {
        let (transport, known) = (scene.transport.clone(), n % 5 != 0);
        let request = match known {
            true => scene.request("echo", &n.to_string()),
            false => to_nobody(),
        };
        calls.spawn(async move {
            match known {
                true => own_reply(transport, request).await,
                false => match transport.request(request).await {
                    Err(TransportError::UnknownService) => Ok(()),
                    end => Err(format!("{end:?}")),
                },
            }
        });
    }
    for end in within(Duration::from_secs(10), calls.join_all()).await {
        end.unwrap();
    }
}

async fn scene_unknown<T: Subject>(scene: &Scene<'_, T>) -> TransportError {
    let error = within(AT_ONCE, scene.transport.request(to_nobody()))
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::UnknownService), "{error:?}");
    error
}

fn to_nobody() -> Request {
    Request::new(Route::new("faults-nobody", "echo").unwrap(), "{}")
}

fn same_connection<T: Subject>(scene: &Scene<'_, T>) {
    assert_eq!(scene.proxy.accepted(), 1, "the connection was replaced");
}

/// Makes one `method` with `multiple` of so many requests' confirms, whether the broker had grouped them or not; the
/// last of [`CALLS`] on the connection isn't held back.
fn of_many(each: usize, method: (u16, u16)) -> impl FnMut(Frame) -> Vec<Frame> {
    let (mut pending, mut told) = (0, 0);
    move |frame| {
        if frame.method() != Some(ACK) {
            return vec![frame];
        }
        let tag = u64::from_be_bytes(frame.arguments()[..8].try_into().unwrap());
        pending = tag.max(pending);
        let all = pending == CALLS as u64;
        if pending - told < each as u64 && !all {
            return vec![];
        }
        told = pending;
        let mut arguments = pending.to_be_bytes().to_vec();
        arguments.push(1);
        vec![Frame::of_method(frame.channel, method, &arguments)]
    }
}
