//! What happens between the transport and the broker.

use std::time::Duration;

use nameko_cachetools::{ConnectionState, Timer, TransportError};
use nameko_cachetools_amqp::ConnectError;
use nameko_cachetools_testkit::fault_proxy::{Cut, Flow};
use tokio::time::Instant;

use crate::{
    scene::{AT_ONCE, SILENCE, Scene, Waiting, builder, eventually, is_lost, within},
    stage::{Row, Stage},
    subject::Subject,
};

pub(crate) async fn tcp_reset<T: Subject>(stage: &Stage) -> Row {
    cut::<T>(stage, Cut::Reset).await
}

pub(crate) async fn tcp_fin<T: Subject>(stage: &Stage) -> Row {
    cut::<T>(stage, Cut::Fin).await
}

async fn cut<T: Subject>(stage: &Stage, cut: Cut) -> Row {
    let scene = Scene::<T>::new(stage).await;
    let waiting = scene.waiting().await;
    scene.proxy.cut(cut);
    let row = waiting.lost(AT_ONCE, &scene).await;
    scene.end().await;
    row
}

/// What the broker says is lost; what we say arrives.
pub(crate) async fn half_open_from_the_broker<T: Subject>(stage: &Stage) -> Row {
    half_open::<T>(stage, Flow::Open, Flow::Lost).await
}

/// The broker hears nothing, not even the end: it keeps our old consumer until its own heartbeats are missed.
pub(crate) async fn half_open_to_the_broker<T: Subject>(stage: &Stage) -> Row {
    half_open::<T>(stage, Flow::Lost, Flow::Open).await
}

pub(crate) async fn half_open_both_ways<T: Subject>(stage: &Stage) -> Row {
    half_open::<T>(stage, Flow::Lost, Flow::Lost).await
}

async fn half_open<T: Subject>(stage: &Stage, to_broker: Flow, to_client: Flow) -> Row {
    let scene = Scene::<T>::new(stage).await;
    let waiting = scene.waiting().await;
    scene.proxy.to_broker(to_broker);
    scene.proxy.to_client(to_client);
    let row = waiting.lost(SILENCE, &scene).await;
    scene.end().await;
    row
}

/// Shorter than what is taken for the end: nobody loses anything.
pub(crate) async fn short_stall<T: Subject>(stage: &Stage) -> Row {
    let scene = Scene::<T>::new(stage).await;
    scene.proxy.to_broker(Flow::Stalled);
    scene.proxy.to_client(Flow::Stalled);
    let start = Instant::now();
    let (calls, ()) = tokio::join!(scene.echoes(50), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        scene.proxy.heal();
    });
    let row = unhurt(&scene, start.elapsed());
    let () = calls;
    scene.end().await;
    row
}

pub(crate) async fn slow_bytes<T: Subject>(stage: &Stage) -> Row {
    let every = Duration::from_millis(1);
    passes::<T>(stage, Flow::Slow { bytes: 128, every }).await
}

pub(crate) async fn late_bytes<T: Subject>(stage: &Stage) -> Row {
    passes::<T>(stage, Flow::Late(Duration::from_millis(50))).await
}

async fn passes<T: Subject>(stage: &Stage, flow: Flow) -> Row {
    let scene = Scene::<T>::new(stage).await;
    scene.proxy.to_broker(flow);
    scene.proxy.to_client(flow);
    let start = Instant::now();
    scene.echoes(50).await;
    let row = unhurt(&scene, start.elapsed());
    scene.end().await;
    row
}

/// Everything was answered, on the first connection.
fn unhurt<T: Subject>(scene: &Scene<'_, T>, took: Duration) -> Row {
    assert_eq!(scene.proxy.accepted(), 1, "the connection was replaced");
    Row {
        end: Ok(()),
        noticed: took,
        back: None,
    }
}

/// Requests that lie in buffers are given up with the connection, so that none is executed after its caller has left.
pub(crate) async fn socket_takes_nothing<T: Subject>(stage: &Stage) -> Row {
    let limit = Duration::from_secs(1);
    let scene = Scene::<T>::with(stage, |builder| builder.send_timeout(limit)).await;
    let mut large = scene.request("large", "");
    large.body = vec![b' '; 1 << 20].into();
    scene.proxy.to_broker(Flow::Stalled);
    let start = Instant::now();
    let waiting = Waiting::start(&scene.transport, || large.clone());
    let (_, error) = waiting
        .end(3 * limit, |error| {
            let timed_out =
                matches!(error, TransportError::Timeout { timer: Timer::SendTimeout, after, .. } if *after == limit);
            timed_out || is_lost(error)
        })
        .await;
    let noticed = start.elapsed();
    scene.proxy.heal();
    let back = Some(scene.back().await);
    assert!(
        scene.service.executed("large") < crate::scene::CALLS / 2,
        "what was in buffers was sent after all"
    );
    scene.end().await;
    Row {
        end: Err(error),
        noticed,
        back,
    }
}

pub(crate) async fn silent_handshake<T: Subject>(stage: &Stage) -> Row {
    let scene = Scene::<T>::new(stage).await;
    scene.proxy.to_client(Flow::Lost);
    let start = Instant::now();
    let limit = Duration::from_millis(300);
    let connect = builder::<T>(&scene.proxy, &scene.service)
        .connect_timeout(limit)
        .connect();
    let ConnectError::Failed(error) = within(2 * AT_ONCE, connect).await.unwrap_err() else {
        panic!("another error")
    };
    let noticed = start.elapsed();
    assert!(
        matches!(error, TransportError::Timeout { timer: Timer::ConnectTimeout, after, .. } if after == limit),
        "{error:?}"
    );
    let lazy = builder::<T>(&scene.proxy, &scene.service).connect_lazy().unwrap();
    let early = lazy.request(scene.request("echo", "x")).await.unwrap_err();
    assert!(matches!(early, TransportError::NotConnected { .. }), "{early:?}");
    // Longer than one attempt lasts.
    tokio::time::sleep(Duration::from_secs(6)).await;
    scene.proxy.heal();
    let mut scene = scene;
    scene.transport = lazy;
    let back = Some(scene.back().await);
    scene.end().await;
    Row {
        end: Err(error),
        noticed,
        back,
    }
}

/// A frame that says it is 2 GiB long: nothing that follows is heard.
pub(crate) async fn bogus_frame_length<T: Subject>(stage: &Stage) -> Row {
    injected::<T>(stage, &[1, 0, 1, 0x7f, 0xff, 0xff, 0xff]).await
}

pub(crate) async fn garbage<T: Subject>(stage: &Stage) -> Row {
    injected::<T>(stage, b"HTTP/1.1 400 Bad Request\r\n\r\n").await
}

async fn injected<T: Subject>(stage: &Stage, bytes: &'static [u8]) -> Row {
    let scene = Scene::<T>::new(stage).await;
    let waiting = scene.waiting().await;
    scene.proxy.inject(bytes);
    let row = waiting.lost(SILENCE, &scene).await;
    eventually("the state is ready again", || {
        *scene.transport.state().borrow() == ConnectionState::Ready
    })
    .await;
    scene.end().await;
    row
}
