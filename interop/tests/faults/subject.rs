//! What the checks need of a transport besides the trait.

use std::fmt::Debug;

use nameko_cachetools::Transport;
use nameko_cachetools_amqp::{AmqpTransport, Builder, Counters};

pub(crate) trait Subject: Transport + Clone + Debug + From<AmqpTransport> {
    const NAME: &'static str;

    fn builder() -> Builder<Self>;

    fn counters(&self) -> Counters;
}

/// All AMQP transports have these methods, by themselves.
macro_rules! subject {
    ($name:ident: $transport:ident) => {
        impl crate::subject::Subject for $transport {
            const NAME: &'static str = stringify!($name);

            fn builder() -> nameko_cachetools_amqp::Builder<Self> {
                $transport::builder()
            }

            fn counters(&self) -> nameko_cachetools_amqp::Counters {
                $transport::counters(self)
            }
        }
    };
}
pub(crate) use subject;
