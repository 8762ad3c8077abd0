//! What real services answered is replayed without them.

use nameko_cachetools::{Args, CallError, Client, Context, ServiceProxy, args};
use nameko_cachetools_interop::{Packages, live};
use nameko_cachetools_lapin::LapinTransport;
use nameko_cachetools_testkit::{
    FakeBroker,
    cassette::{Matching, Recorder},
};
use serde_json::{Value, json};

#[test]
fn a_recording_of_real_services_is_replayed_without_them() {
    for packages in [Packages::Nameko2, Packages::OldKombu, Packages::Nameko3] {
        live::shared(packages, async |nameko| {
            let transport = LapinTransport::connect(nameko.uri()).await.unwrap();
            let recorder = Recorder::new(transport);
            let context = Context::new().auth_token("canary-token").language("sv");
            let service = |client: Client| client.with_context(&context).service(nameko.service("interop"));

            let live = story(&service(Client::new(recorder.clone()))).await;
            let cassette = recorder.cassette();
            assert_eq!(cassette.len(), live.len(), "{cassette}");
            cassette.check(["canary-token", "canary-password"]).unwrap();

            let broker = FakeBroker::new();
            broker.replay(&cassette, Matching::Strict);
            let replayed = story(&service(broker.client())).await;
            assert_eq!(replayed, live, "{packages:?}");
            broker.verify().unwrap();
        });
    }
}

/// Results, exceptions and mistakes, each as text.
async fn story(interop: &ServiceProxy) -> Vec<String> {
    let secret = json!({"user": "tess", "password": "canary-password"});
    vec![
        told(interop, "echo", args![1, "två", three = 3.5]).await,
        told(interop, "echo", args![[7, 8]]).await,
        told(interop, "add", args![40, b = 2]).await,
        told(interop, "add", args![40, b = 2]).await,
        told(interop, "add", args!["a", b = 2]).await,
        told(interop, "add", args![]).await,
        told(interop, "no_such_method", args![]).await,
        told(interop, "echo", args![account = secret])
            .await
            .replace("canary-password", "<redacted>"),
    ]
}

async fn told<P, K>(interop: &ServiceProxy, method: &str, args: Args<P, K>) -> String
where
    P: serde::Serialize + Send,
    K: serde::Serialize + Send,
{
    match interop.call::<Value, _>(method, args).await {
        Ok(reply) => reply.to_string(),
        Err(CallError::Remote { error, .. }) => {
            format!(
                "{} {} {:?} {}",
                error.exc_path, error, error.exc_args, error.value
            )
        }
        Err(error) => format!("{error:?}"),
    }
}
