//! Makes a schedule happen: a fake broker, proxies, callers, weather.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use nameko_cachetools::{
    CachedRpcProxy, Call as Calls, CallError, Client, Context, Reply, Scope, Store, args,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, advance, sleep, sleep_until, timeout},
};

use super::{
    super::Sim,
    leaving::leaving,
    log::{Answered, Asked, Event, Log, Owner, Quiet, Told},
    schedule::{Asking, Calling, Mode, Ms, Reach, Schedule, Step, Weather, What, duration},
    stage::{proxy, services},
    store::Recorded,
    transport::{Recorder, fault},
};
use crate::{FakeBroker, Outage};

/// The type that callers ask for. It says whose answer it is.
#[derive(Debug, Deserialize)]
struct Probe {
    number: u64,
    method: String,
    key: u64,
}

/// Runs `schedule` and writes down what happens.
pub(super) async fn run(sim: Sim, schedule: Arc<Schedule>) -> Log {
    let log = Log::new();
    let broker = sim.broker();
    services(&broker, &schedule);
    let store = Recorded::new(&schedule.store, &log);
    let client = Client::new(Recorder {
        inner: broker.transport(),
        log: log.clone(),
    });
    let proxies: Vec<_> = schedule
        .proxies
        .iter()
        .map(|setup| proxy(setup, &schedule, &store, &client))
        .collect();

    let mut world = World {
        broker,
        store,
        log: log.clone(),
        outages: BTreeMap::new(),
        calls: 0,
        tasks: Vec::new(),
        client,
        proxies,
        services: schedule.proxies.iter().map(|setup| setup.service).collect(),
    };
    world.play(&schedule).await;
    world.quiet().await;
    log
}

struct World {
    broker: FakeBroker,
    store: Recorded,
    log: Log,
    /// By the number of their steps.
    outages: BTreeMap<usize, Outage>,
    calls: usize,
    tasks: Vec<JoinHandle<()>>,
    client: Client,
    proxies: Vec<CachedRpcProxy>,
    services: Vec<&'static str>,
}

impl World {
    /// All steps, and the ends of what lasts, in order of time.
    async fn play(&mut self, schedule: &Schedule) {
        let start = Instant::now();
        let mut moments: Vec<(Ms, usize, bool)> = Vec::with_capacity(2 * schedule.steps.len());
        for (index, Step { at, what }) in schedule.steps.iter().enumerate() {
            moments.push((*at, index, true));
            if let What::Outage(_, lasts) | What::StoreTrouble(_, lasts) = what {
                moments.push((at + lasts, index, false));
            }
        }
        moments.sort_by_key(|(at, ..)| *at);
        for (at, index, begins) in moments {
            sleep_until(start + duration(at)).await;
            let what = &schedule.steps[index].what;
            if begins {
                self.begin(index, what).await
            } else {
                self.end(index, what)
            }
        }
    }

    async fn begin(&mut self, index: usize, what: &What) {
        match what {
            What::Call(calling) => self.call(calling),
            What::Clear => {
                // The store's own clear never fails; trouble is for the library's operations.
                let _ = self.store.clear().await;
            }
            What::Invalidate { reach, softly } => self.invalidate(*reach, *softly),
            What::Jump(by) => {
                self.log.add(Event::Jumps(*by));
                advance(duration(*by)).await;
            }
            What::StoreTrouble(trouble, _) => {
                self.log.add(Event::World(format!("store: {trouble:?}")));
                self.store.set_trouble(Some(*trouble));
            }
            What::Outage(weather, _) => {
                self.log.add(Event::World(format!("{weather:?}")));
                self.outages.insert(
                    index,
                    match weather {
                        Weather::Down => self.broker.down(),
                        Weather::Blocked => self.broker.blocked(),
                        Weather::Silent(service) => self.broker.silent(service),
                        Weather::Unknown(service) => self.broker.unknown(service),
                    },
                );
            }
        }
    }

    fn end(&mut self, index: usize, what: &What) {
        match what {
            What::StoreTrouble(trouble, _) => {
                self.log.add(Event::World(format!("store: no more {trouble:?}")));
                self.store.set_trouble(None);
            }
            What::Outage(weather, _) => {
                self.log.add(Event::World(format!("no more {weather:?}")));
                self.outages.remove(&index);
            }
            What::Call(_) | What::Clear | What::Jump(_) | What::Invalidate { .. } => {}
        }
    }

    fn call(&mut self, calling: &Calling) {
        let (caller, calling) = (self.calls, calling.clone());
        self.calls += 1;
        let (proxy, log) = (self.proxies[calling.proxy].clone(), self.log.clone());
        self.tasks.push(tokio::spawn(async move {
            log.own(Owner::Caller(caller));
            log.add(Event::Began(caller));
            let untyped = calling.options.as_ref().is_some_and(|asking| asking.untyped);
            let told = if untyped {
                told::<Value>(&proxy, caller, &calling, &log).await
            } else {
                told::<Probe>(&proxy, caller, &calling, &log).await
            };
            if let Some(told) = told {
                log.add(Event::Ended(caller, told));
            }
        }));
    }

    fn invalidate(&mut self, reach: Reach, softly: bool) {
        let scope = match reach {
            Reach::Everything => Scope::Everything,
            Reach::Service(service) => Scope::service(service),
            Reach::Method(service, method) => Scope::method(service, method),
            Reach::Tag => Scope::tag(TAG),
            Reach::Call {
                proxy,
                method,
                key,
                user,
            } => {
                let (index, proxy, log) = (proxy, self.proxies[proxy].clone(), self.log.clone());
                let service = self.services[index];
                self.tasks.push(tokio::spawn(async move {
                    log.own(Owner::Invalidator(Asked {
                        service,
                        method,
                        key,
                        user,
                    }));
                    let call = proxy.call::<Value, _>(method, args![key]);
                    let call = match user {
                        None => call,
                        Some(user) => call.context(Context::new().user_id(user)),
                    };
                    log.add(Event::Invalidated { reach, softly });
                    if softly {
                        call.expire().await
                    } else {
                        call.invalidate().await
                    }
                }));
                return;
            }
        };
        self.log.add(Event::Invalidated { reach, softly });
        if softly {
            self.client.expire(&scope);
        } else {
            self.client.invalidate(&scope);
        }
    }

    /// Waits until every limit has passed, then lets the broker go down, which ends those who wait without a limit.
    async fn quiet(mut self) {
        sleep(LONGEST).await;
        self.log.add(Event::World("the end: broker down".to_owned()));
        drop(self.broker.down());
        for task in &mut self.tasks {
            match timeout(LONGEST, &mut *task).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => self.log.add(Event::World("a task panicked".to_owned())),
                Err(_) => {
                    self.log.add(Event::World("a task hangs".to_owned()));
                    task.abort();
                }
            }
        }
        sleep(LONGEST).await;
        let quiet = Quiet {
            in_flight: self.broker.in_flight(),
            tasks: Handle::current().metrics().num_alive_tasks(),
            stats: self.proxies.iter().map(CachedRpcProxy::stats).collect(),
        };
        self.log.add(Event::Quiet(quiet));
    }
}

/// The one tag that there is.
pub(super) const TAG: &str = "tag";

/// Longer than any limit that there is.
const LONGEST: Duration = Duration::from_secs(400);

/// Makes one call. `None`: the caller left.
async fn told<T: DeserializeOwned + Says + Send + Sync + 'static>(
    proxy: &CachedRpcProxy,
    caller: usize,
    calling: &Calling,
    log: &Log,
) -> Option<Told> {
    let call = proxy.call::<T, _>(calling.method, args![calling.key]);
    let call = match &calling.options {
        None => call,
        Some(asking) => asked(call, caller, asking),
    };
    let result = leaving(call.into_future(), calling.leaves, || {
        log.add(Event::Left(caller))
    })
    .await?;
    Some(match result {
        Ok(reply) => Told::Answer(answered(&reply, calling)),
        Err(error) => Told::Error(fault(&error)),
    })
}

fn asked<'a, T, P, K>(call: Calls<'a, T, P, K>, caller: usize, asking: &Asking) -> Calls<'a, T, P, K> {
    // The user agent doesn't vary the key: by it the request says whose it is.
    let mut context = Context::new().user_agent(caller.to_string());
    if let Some(user) = asking.user {
        context = context.user_id(user);
    }
    let mut call = call.context(context);
    if asking.tagged {
        call = call.tag(TAG);
    }
    if let Some(limit) = asking.timeout {
        call = call.timeout(limit.map(duration));
    }
    if let Some(age) = asking.max_age {
        call = call.max_age(duration(age));
    }
    match asking.mode {
        Mode::Policy => call,
        Mode::Reload => call.reload(),
        Mode::Bypass => call.bypass(),
        Mode::OnlyIfCached => call.only_if_cached(),
    }
}

fn answered<T: Says>(reply: &Reply<T>, calling: &Calling) -> Answered {
    let (outcome, (number, method, key)) = (reply.outcome(), reply.says());
    Answered {
        number,
        is_own: method == calling.method && key == calling.key,
        source: outcome.source(),
        reason: outcome.reason(),
        age: outcome.age().map(|age| age.as_millis() as Ms),
        collapsed: outcome.is_collapsed(),
        stored: outcome.is_stored(),
        masked: outcome.masked().map(|error: &CallError| fault(error)),
        waited: outcome.waited().as_millis() as Ms,
    }
}

/// An answer's own word for whose it is: request, method, key.
trait Says {
    fn says(&self) -> (u64, &str, u64);
}

impl Says for Probe {
    fn says(&self) -> (u64, &str, u64) {
        (self.number, &self.method, self.key)
    }
}

impl Says for Value {
    fn says(&self) -> (u64, &str, u64) {
        let number = self["number"].as_u64().or_else(|| self["odd"].as_u64());
        (
            number.unwrap_or(0),
            self["method"].as_str().unwrap_or_default(),
            self["key"].as_u64().unwrap_or(u64::MAX),
        )
    }
}
