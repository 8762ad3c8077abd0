//! A fake service as the implementation of a Rust trait.

use std::{
    fmt,
    panic::Location,
    sync::{Arc, Mutex, PoisonError},
};

use nameko_cachetools::Route;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Answer, Call, FakeBroker, Latency, Rule, fail, target::Target};

/// Declares a nameko service as a trait; whoever implements it is a fake service, for
/// [`FakeBroker::deploy`](crate::FakeBroker::deploy).
///
/// A method that the trait has and the fake has not, or has otherwise, doesn't compile. Methods take `&mut self`, and
/// arguments of any type that serde can read without borrowing. `= value` after one makes it optional, as in Python.
/// They return a `Result`: what serde can write, or a [`RemoteError`](nameko_cachetools::RemoteError) or any
/// [`Answer`](crate::Answer).
///
/// The trait has a method of its own, `into_service`.
///
/// ```
/// use nameko_cachetools::{RemoteError, Reply, args};
/// use nameko_cachetools_testkit::FakeBroker;
/// use std::collections::BTreeMap;
///
/// nameko_cachetools_testkit::service! {
///     /// What the service "stock" offers.
///     pub trait Stock = "stock" {
///         /// How many there are.
///         fn level(&mut self, product: String) -> Result<u32, RemoteError>;
///         /// Takes some away; returns how many are left.
///         fn take(&mut self, product: String, count: u32 = 1) -> Result<u32, RemoteError>;
///     }
/// }
///
/// #[derive(Default)]
/// struct Shelf(BTreeMap<String, u32>);
///
/// impl Stock for Shelf {
///     fn level(&mut self, product: String) -> Result<u32, RemoteError> {
///         self.0.get(&product).copied().ok_or_else(|| RemoteError::new("NotFound", product))
///     }
///
///     fn take(&mut self, product: String, count: u32) -> Result<u32, RemoteError> {
///         let left = self.level(product.clone())?.saturating_sub(count);
///         self.0.insert(product, left);
///         Ok(left)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = FakeBroker::new();
/// broker.deploy(Shelf(BTreeMap::from([("A1".to_owned(), 7)])).into_service());
///
/// let stock = broker.client().service("stock");
/// let left: Reply<u32> = stock.call("take", args!["A1", count = 3]).await?;
/// let again: Reply<u32> = stock.call("take", args!["A1"]).await?;
/// assert_eq!((*left, *again), (4, 3));
/// let unknown = stock.call::<u32, _>("level", args!["A2"]).await.unwrap_err();
/// assert!(unknown.remote().is_some_and(|error| error.is("NotFound")));
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! service {
    (@take $bound:ident $arg:ident $type:ty) => {
        $bound.required::<$type>(stringify!($arg))?
    };
    (@take $bound:ident $arg:ident $type:ty = $default:expr) => {
        match $bound.optional::<$type>(stringify!($arg))? {
            Some(given) => given,
            None => $default,
        }
    };
    (
        $(#[$meta:meta])*
        $visibility:vis trait $name:ident = $service:literal {
            $(
                $(#[$doc:meta])*
                fn $method:ident(&mut self $(, $arg:ident: $type:ty $(= $default:expr)?)* $(,)?) -> $reply:ty;
            )*
        }
    ) => {
        $(#[$meta])*
        $visibility trait $name: Send + 'static {
            $(
                $(#[$doc])*
                fn $method(&mut self $(, $arg: $type)*) -> $reply;
            )*

            /// This implementation as a service, to be deployed on a fake broker.
            fn into_service(self) -> $crate::Service
            where
                Self: Sized,
            {
                let fake = ::std::sync::Arc::new(::std::sync::Mutex::new(self));
                let service = $crate::Service::new($service);
                $(
                    let service = {
                        let fake = ::std::sync::Arc::clone(&fake);
                        let parameters: &[(&str, &[&str])] =
                            &[$((stringify!($arg), &[$(stringify!($default))?])),*];
                        service.with_method(stringify!($method), parameters, move |bound, is_called| {
                            let _ = &bound;
                            $(let $arg: $type = $crate::service!(@take bound $arg $type $(= $default)?);)*
                            Ok(is_called.then(|| {
                                $crate::Service::answer(&fake, |fake| fake.$method($($arg),*))
                            }))
                        })
                    };
                )*
                service
            }
        }
    };
}

/// A fake service, made of the implementation of a trait that [`service!`](crate::service) declared.
pub struct Service {
    name: String,
    latency: Option<Latency>,
    methods: Vec<Method>,
}

/// One method: answers a call, or only tries whether the call's arguments fit.
struct Method {
    name: &'static str,
    parameters: Parameters,
    run: Run,
}

type Run = Arc<dyn Fn(&Bound<'_>, bool) -> Result<Option<Answer>, String> + Send + Sync>;

impl Service {
    /// For [`service!`](crate::service).
    #[doc(hidden)]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            latency: None,
            methods: Vec::new(),
        }
    }

    /// For [`service!`](crate::service): each parameter with its default, if it has one.
    #[doc(hidden)]
    #[must_use]
    pub fn with_method(
        mut self,
        name: &'static str,
        parameters: &[(&'static str, &[&'static str])],
        run: impl Fn(&Bound<'_>, bool) -> Result<Option<Answer>, String> + Send + Sync + 'static,
    ) -> Self {
        let parameters = parameters
            .iter()
            .map(|(name, default)| (*name, default.first().copied()));
        self.methods.push(Method {
            name,
            parameters: Parameters(parameters.collect()),
            run: Arc::new(run),
        });
        self
    }

    /// For [`service!`](crate::service).
    #[doc(hidden)]
    pub fn answer<S, T: Serialize, E: Into<Answer>>(
        fake: &Mutex<S>,
        method: impl FnOnce(&mut S) -> Result<T, E>,
    ) -> Answer {
        let mut fake = fake.lock().unwrap_or_else(PoisonError::into_inner);
        match method(&mut fake) {
            Ok(result) => Answer::ok(result),
            Err(error) => error.into(),
        }
    }

    /// How long its answers take, where they don't say it themselves.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # use std::time::Duration;
    /// nameko_cachetools_testkit::service! {
    ///     trait Clock = "clock" {
    ///         fn hour(&mut self) -> Result<u8, Answer>;
    ///     }
    /// }
    ///
    /// struct Broken;
    ///
    /// impl Clock for Broken {
    ///     fn hour(&mut self) -> Result<u8, Answer> {
    ///         Err(Answer::never())
    ///     }
    /// }
    ///
    /// # let broker = FakeBroker::new();
    /// broker.deploy(Broken.into_service().after(Duration::from_millis(20)));
    /// ```
    #[must_use]
    pub fn after(self, latency: impl Into<Latency>) -> Self {
        Self {
            latency: Some(latency.into()),
            ..self
        }
    }
}

/// # Services as implementations of traits
impl FakeBroker {
    /// Makes a rule for each method of `service`, which the implementation answers. A call whose arguments don't fit
    /// the method is answered `IncorrectSignature`, and like any unmatched call it fails the test.
    ///
    /// Rules for the same route that were made before come first; what is [pushed](Self::push) does in any case. See
    /// [`service!`](crate::service) for an example.
    ///
    /// # Panics
    /// If nameko could not route to such a name.
    #[track_caller]
    pub fn deploy(&self, service: Service) {
        let at = Location::caller();
        for Method {
            name,
            parameters,
            run,
        } in service.methods
        {
            let route = match Route::new(service.name.as_str(), name) {
                Ok(route) => route,
                Err(error) => fail(format!("{}.{name} is no route: {error}", service.name)),
            };
            let signature = format!("fits {name}({parameters})");
            let (parameters, fits) = (Arc::new(parameters), Arc::clone(&run));
            let known = Arc::clone(&parameters);
            let rule = Rule::new(&self.hub, Target::One(route), at)
                .on_condition(signature, move |call| fits(&known.bind(call)?, false).map(drop))
                .reply_with(move |call| {
                    let outcome = parameters.bind(call).and_then(|bound| run(&bound, true));
                    match outcome {
                        Ok(Some(answer)) => answer,
                        // Only if the arguments fitted a moment ago and don't now.
                        Ok(None) => Answer::never(),
                        Err(why) => Answer::incorrect_signature(&why),
                    }
                });
            if let Some(latency) = service.latency {
                let _ = rule.after(latency);
            }
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = self.methods.iter().map(|method| method.name);
        write!(
            f,
            "Service({}: {})",
            self.name,
            methods.collect::<Vec<_>>().join(", ")
        )
    }
}

/// The parameters of a method, with their defaults' text.
struct Parameters(Vec<(&'static str, Option<&'static str>)>);

impl Parameters {
    /// Binds a call's arguments as Python does.
    fn bind<'a>(&self, call: &'a Call) -> Result<Bound<'a>, String> {
        if call.args.len() > self.0.len() {
            let (takes, given) = (self.0.len(), call.args.len());
            return Err(format!("takes {takes} arguments, {given} were given"));
        }
        let names = self.0.iter().map(|(name, _)| *name);
        let bound = Bound {
            positional: names.zip(&call.args).collect(),
            keyword: &call.kwargs,
        };
        for name in call.kwargs.keys() {
            if !self.0.iter().any(|(own, _)| own == name) {
                return Err(format!("unexpected keyword argument {name}"));
            }
            if bound.positional.iter().any(|(own, _)| own == name) {
                return Err(format!("multiple values for {name}"));
            }
        }
        let mut required = self.0.iter().filter(|(_, default)| default.is_none());
        match required.find(|(name, _)| bound.value(name).is_none()) {
            Some((name, _)) => Err(format!("{name} is missing")),
            None => Ok(bound),
        }
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameter = |(name, default): &(&str, Option<&str>)| match default {
            Some(default) => format!("{name}={default}"),
            None => (*name).to_owned(),
        };
        f.write_str(&self.0.iter().map(parameter).collect::<Vec<_>>().join(", "))
    }
}

/// A call's arguments by the names of the method's parameters. For [`service!`](crate::service).
#[doc(hidden)]
#[derive(Debug)]
pub struct Bound<'a> {
    positional: Vec<(&'static str, &'a Value)>,
    keyword: &'a Map<String, Value>,
}

impl Bound<'_> {
    fn value(&self, name: &str) -> Option<&Value> {
        let positional = self.positional.iter().find(|(own, _)| *own == name);
        positional.map_or_else(|| self.keyword.get(name), |(_, value)| Some(*value))
    }

    /// An argument that may be left out.
    #[doc(hidden)]
    pub fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|error| format!("{name}: {error}")),
        }
    }

    /// An argument that is there, since it was bound.
    #[doc(hidden)]
    pub fn required<T: DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        self.optional(name)?.ok_or_else(|| format!("{name} is missing"))
    }
}
