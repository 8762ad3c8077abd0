//! A node that is stopped, killed, hung, told to close connections, and short of memory.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use nameko_cachetools::{Delivery, Timer, TransportError};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    scene::{AT_ONCE, SILENCE, Scene, Waiting, is_lost},
    stage::{Row, Stage},
    subject::Subject,
};

pub(crate) async fn broker_restarted<T: Subject>(stage: &Stage) -> Row {
    let mut broker = stage.alone().await;
    let scene = Scene::<T>::on(&stage.uri, |builder| builder).await;
    let waiting = scene.waiting().await;
    let ended = told_and_ended(&scene, waiting, async { broker.stop().await.unwrap() }).await;
    broker.restart().await.unwrap();
    ended_and_back(scene, ended, stage).await
}

pub(crate) async fn broker_killed<T: Subject>(stage: &Stage) -> Row {
    let mut broker = stage.alone().await;
    let scene = Scene::<T>::on(&stage.uri, |builder| builder).await;
    let waiting = scene.waiting().await;
    let (ended, killed) = tokio::join!(waiting.end(2 * AT_ONCE, is_lost), broker.kill());
    killed.unwrap();
    let refused = scene.call("echo", "x").await.unwrap_err();
    assert!(
        matches!(refused, TransportError::NotConnected { .. }),
        "{refused:?}"
    );
    broker.restart().await.unwrap();
    ended_and_back(scene, ended, stage).await
}

pub(crate) async fn connection_closed_by_the_broker<T: Subject>(stage: &Stage) -> Row {
    let broker = stage.alone().await;
    let scene = Scene::<T>::on(&stage.uri, |builder| builder).await;
    let waiting = scene.waiting().await;
    let close = async { drop(broker.ctl(&["close_all_connections", "by a test"]).await.unwrap()) };
    let ended = told_and_ended(&scene, waiting, close).await;
    ended_and_back(scene, ended, stage).await
}

/// Calls that end as soon as the broker says that it closes the connection; until it does, a busy machine may take long.
async fn told_and_ended<T: Subject>(
    scene: &Scene<'_, T>,
    waiting: Waiting,
    fault: impl Future<Output = ()>,
) -> (Duration, TransportError) {
    let told = Arc::new(Mutex::new(None));
    let seen = told.clone();
    scene.proxy.rewrite(move |frame| {
        if frame.method() == Some((10, 50)) {
            seen.lock().unwrap().get_or_insert_with(Instant::now);
        }
        vec![frame]
    });
    let began = Instant::now();
    let ((waited, error), ()) = tokio::join!(waiting.end(Duration::from_secs(120), is_lost), fault);
    let told = told.lock().unwrap().expect("connection.close");
    let noticed = (began + waited).saturating_duration_since(told);
    assert!(noticed <= AT_ONCE, "noticed after {noticed:?}");
    (noticed, error)
}

/// The broker speaks again: the transport is back as soon as it reaches it, whether the service is or not.
async fn ended_and_back<T: Subject>(
    mut scene: Scene<'_, T>,
    (noticed, error): (Duration, TransportError),
    stage: &Stage,
) -> Row {
    let back = scene
        .back_when(|end| matches!(end, Ok(_) | Err(TransportError::UnknownService)))
        .await;
    scene.service.restart(&stage.uri).await;
    scene.end().await;
    Row {
        end: Err(error),
        noticed,
        back: Some(back),
    }
}

/// SIGSTOP: connections stay open, and nobody answers.
pub(crate) async fn broker_hung<T: Subject>(stage: &Stage) -> Row {
    let broker = stage.alone().await;
    let scene = Scene::<T>::on(&stage.uri, |builder| builder).await;
    let waiting = scene.waiting().await;
    broker.hang().unwrap();
    let (noticed, error) = waiting.end(SILENCE, is_lost).await;
    broker.resume().unwrap();
    let back = scene.back().await;
    scene.end().await;
    Row {
        end: Err(error),
        noticed,
        back: Some(back),
    }
}

/// A broker that is short of memory reads nothing from publishers. It tells those who understand; the others run into
/// `send_timeout`. What certainly was not sent is not executed when it reads again.
pub(crate) async fn memory_alarm<T: Subject>(stage: &Stage) -> Row {
    let broker = stage.alone().await;
    let scene = Scene::<T>::on(&stage.uri, |builder| builder.send_timeout(AT_ONCE)).await;
    scene.echo("before").await;
    let watermark = async |to| broker.ctl(&["set_vm_memory_high_watermark", to]).await.unwrap();
    watermark("0").await;
    let start = Instant::now();
    // The alarm is set within a second, and told to who publishes then: the first caller has to wait.
    let told = async {
        loop {
            let impatient = timeout(2 * AT_ONCE, scene.transport.request(scene.request("echo", "x")));
            match impatient.await {
                Ok(Err(error)) if is_blocked(&error) => return error,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let told = timeout(Duration::from_secs(15), told).await;
    let noticed = start.elapsed();
    let requests = (0..50).map(|_| scene.transport.request(scene.request("given_up", "x")));
    let ends = timeout(3 * AT_ONCE, futures_util::future::join_all(requests)).await;
    watermark("0.4").await;
    let error = told.expect("the block is told");
    let back = scene.back().await;
    scene.echoes(50).await;
    let ends = ends.expect("no call waits for the alarm's end").into_iter();
    let errors: Vec<_> = ends.map(Result::unwrap_err).collect();
    let perhaps = errors
        .iter()
        .filter(|error| error.delivery() != Delivery::NotSent);
    let executed = scene.service.executed("given_up");
    assert!(
        executed <= perhaps.count(),
        "{executed} were executed after {errors:?}"
    );
    scene.end().await;
    Row {
        end: Err(error),
        noticed,
        back: Some(back),
    }
}

fn is_blocked(error: &TransportError) -> bool {
    let timer = Timer::SendTimeout;
    matches!(error, TransportError::Blocked { .. })
        || matches!(error, TransportError::Timeout { timer: found, .. } if *found == timer)
}
