//! What the broker ends while the connection lives.

use std::sync::{Arc, Mutex};

use nameko_cachetools::TransportError;
use nameko_cachetools_testkit::fault_proxy::{Cut, Frame};

use crate::{
    scene::{AT_ONCE, Scene, is_lost},
    stage::{Row, Stage},
    subject::Subject,
};

/// 404: the exchange was deleted.
pub(crate) async fn publish_channel_closed<T: Subject>(stage: &Stage) -> Row {
    let scene = Scene::<T>::new(stage).await;
    let waiting = scene.waiting().await;
    scene.service.responder.delete_exchange().await.unwrap();
    let error = scene.call("echo", "to nowhere").await.unwrap_err();
    assert!(is_lost(&error), "{error:?}");
    let (noticed, error) = waiting.end(AT_ONCE, is_lost).await;
    // The exchange is declared again, but nobody is bound to it.
    let back = scene
        .back_when(|end| matches!(end, Err(TransportError::UnknownService)))
        .await;
    let mut scene = scene;
    scene.service.restart(&stage.uri).await;
    scene.end().await;
    Row {
        end: Err(error),
        noticed,
        back: Some(back),
    }
}

/// 406, as for a consumer that took too long.
pub(crate) async fn reply_channel_closed<T: Subject>(stage: &Stage) -> Row {
    to_the_consumer::<T>(stage, |Consumer { channel, .. }| {
        let text = b"PRECONDITION_FAILED";
        let mut arguments = vec![0x01, 0x96, text.len() as u8];
        arguments.extend_from_slice(text);
        arguments.extend_from_slice(&[0; 4]);
        Frame::of_method(*channel, (20, 40), &arguments)
    })
    .await
}

/// `basic.cancel`, though the queue is there.
pub(crate) async fn consumer_cancelled<T: Subject>(stage: &Stage) -> Row {
    to_the_consumer::<T>(stage, |Consumer { channel, tag }| {
        Frame::of_method(*channel, (60, 30), &[tag, &[1][..]].concat())
    })
    .await
}

/// Of a `basic.consume-ok`.
struct Consumer {
    channel: u16,
    /// With its length in front.
    tag: Vec<u8>,
}

async fn to_the_consumer<T: Subject>(stage: &Stage, frame: impl FnOnce(&Consumer) -> Frame) -> Row {
    let scene = Scene::<T>::new(stage).await;
    let consumers = Arc::new(Mutex::new(Vec::new()));
    let seen = consumers.clone();
    scene.proxy.rewrite(move |frame| {
        if frame.method() == Some((60, 21)) {
            seen.lock().unwrap().push(Consumer {
                channel: frame.channel,
                tag: frame.arguments().to_vec(),
            });
        }
        vec![frame]
    });
    let consumer = loop {
        scene.proxy.cut(Cut::Reset);
        scene.back().await;
        // More than one, if a slow attempt to connect was overtaken: nobody knows whose is whose.
        let mut seen = std::mem::take(&mut *consumers.lock().unwrap());
        if seen.len() == 1 {
            break seen.remove(0);
        }
    };
    let waiting = scene.waiting().await;
    scene.proxy.inject(frame(&consumer).to_bytes());
    let row = waiting.lost(AT_ONCE, &scene).await;
    scene.end().await;
    row
}

pub(crate) async fn reply_queue_deleted<T: Subject>(stage: &Stage) -> Row {
    let scene = Scene::<T>::new(stage).await;
    let waiting = scene.waiting().await;
    let key = scene.call("reply_to", "x").await.unwrap().body;
    let queue = format!(
        "rpc.reply-{}-{}",
        scene.service.name,
        String::from_utf8_lossy(&key)
    );
    scene.service.responder.delete_queue(&queue).await.unwrap();
    let row = waiting.lost(AT_ONCE, &scene).await;
    scene.end().await;
    row
}
