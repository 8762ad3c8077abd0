//! Which faults come, how each begins and ends.

use std::{error::Error, time::Duration};

use nameko_cachetools::Transport;
use nameko_cachetools_interop::PrivateBroker;
use nameko_cachetools_testkit::fault_proxy::{Cut, FaultProxy, Flow};
use tokio::time::{Instant, sleep};

use crate::{process, traffic::Traffic};

pub(crate) struct Faults {
    broker: PrivateBroker,
    proxy: FaultProxy,
    count: usize,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Reset,
    Fin,
    /// Bytes stop for a second, and then go on.
    Stall,
    Slow,
    Late,
    /// Until the transport has replaced the connection by itself.
    DeafClient,
    DeafBroker,
    DeafBoth,
    BogusLength,
    Refused,
    Restarted,
    Killed,
    Hung,
}

/// In turn. The short ones are often, those that take seconds to be noticed, or a node's restart, are few.
const ORDER: [Fault; 25] = {
    use Fault::{
        BogusLength, DeafBoth, DeafBroker, DeafClient, Fin, Hung, Killed, Late, Refused, Reset, Restarted,
        Slow, Stall,
    };
    [
        Reset,
        Fin,
        Slow,
        Reset,
        DeafClient,
        Late,
        Reset,
        Fin,
        Stall,
        Restarted,
        Reset,
        DeafBroker,
        Fin,
        Slow,
        Reset,
        BogusLength,
        Late,
        Reset,
        Killed,
        Fin,
        DeafBoth,
        Refused,
        Reset,
        Hung,
        Stall,
    ]
};

impl Faults {
    pub(crate) fn new(broker: PrivateBroker, proxy: FaultProxy, count: usize) -> Self {
        Self { broker, proxy, count }
    }

    /// All of them, each when its share of the calls has begun. Returns the memory after the first tenth.
    pub(crate) async fn run<T: Transport + Clone>(
        &mut self,
        traffic: &Traffic<T>,
        began: Instant,
    ) -> Result<u64, Box<dyn Error>> {
        let (mut warm, mut slowest) = (0, Duration::ZERO);
        for n in 0..self.count {
            if n <= self.count / 10 {
                warm = process::rss_kib();
            }
            traffic.share().await;
            let fault = ORDER[n % ORDER.len()];
            self.inflict(fault).await?;
            let back = traffic.works().await;
            slowest = slowest.max(back);
            println!(
                "{:>6.1} s  {fault:?}: back after {back:.0?}",
                began.elapsed().as_secs_f64()
            );
        }
        traffic.share().await;
        println!("slowest recovery after a fault's end: {slowest:.0?}");
        Ok(if self.count == 0 { process::rss_kib() } else { warm })
    }

    /// Nothing is broken any more; the node may go on or not.
    pub(crate) fn end(self) -> FaultProxy {
        self.proxy
    }

    async fn inflict(&mut self, fault: Fault) -> Result<(), Box<dyn Error>> {
        let moment = Duration::from_millis(1);
        match fault {
            Fault::Reset => self.proxy.cut(Cut::Reset),
            Fault::Fin => self.proxy.cut(Cut::Fin),
            Fault::Stall => self.flows(Flow::Stalled, Flow::Stalled, 1).await,
            Fault::Slow => {
                let slow = Flow::Slow {
                    bytes: 1000,
                    every: moment,
                };
                self.flows(slow, slow, 2).await;
            }
            Fault::Late => {
                self.flows(Flow::Late(50 * moment), Flow::Late(50 * moment), 2)
                    .await
            }
            Fault::DeafClient => self.flows(Flow::Open, Flow::Lost, 8).await,
            Fault::DeafBroker => self.flows(Flow::Lost, Flow::Open, 8).await,
            Fault::DeafBoth => self.flows(Flow::Lost, Flow::Lost, 8).await,
            Fault::BogusLength => {
                self.proxy.inject(&[1, 0, 1, 0x7f, 0xff, 0xff, 0xff][..]);
                sleep(Duration::from_secs(8)).await;
            }
            Fault::Refused => {
                self.proxy.refuse(true);
                self.proxy.cut(Cut::Reset);
                sleep(Duration::from_secs(3)).await;
            }
            Fault::Restarted => self.broker.restart().await?,
            Fault::Killed => {
                self.broker.kill().await?;
                self.broker.restart().await?;
            }
            Fault::Hung => {
                self.broker.hang()?;
                sleep(Duration::from_secs(8)).await;
                self.broker.resume()?;
            }
        }
        self.proxy.heal();
        Ok(())
    }

    async fn flows(&self, to_broker: Flow, to_client: Flow, seconds: u64) {
        self.proxy.to_broker(to_broker);
        self.proxy.to_client(to_client);
        sleep(Duration::from_secs(seconds)).await;
    }
}
