//! What a caller was told, against what it had to be told: the truth, in time.

use nameko_cachetools::{Reason, Source};

use super::{
    super::{
        log::{Answered, Caller, Told},
        schedule::{FOREVER, Mode, Ms},
    },
    Model, Verdict,
    calls::Must,
    ensure,
    flights::Kind,
    invalidations::Verdicts,
};

impl Model<'_> {
    /// No call lasts longer than its limit and one wait for the store.
    pub(super) fn ends_in_time(&self, caller: Caller) -> Verdict {
        let policy = self.policy(caller);
        let own = self
            .calling(caller)
            .options
            .as_ref()
            .and_then(|asking| asking.timeout);
        let began = self.calls[caller].began;
        let stood_still = self.jumps.iter().filter(|(from, _)| *from >= began);
        let lasted = self.now - began - stood_still.map(|(from, to)| to - from).sum::<Ms>();
        let most = own
            .unwrap_or(policy.call_timeout)
            .map(|limit| limit + self.schedule.store.timeout);
        ensure(most.is_none_or(|most| lasted <= most), "25", || {
            format!(
                "call {caller} lasted {lasted} ms, longer than its limit and one wait for the store: {most:?}"
            )
        })
    }

    /// Whether the caller was told what it had to be told, and nothing but the truth about it.
    pub(super) fn is_true(&self, caller: Caller, must: Must, told: &Told) -> Verdict {
        let waited = self.now - self.calls[caller].began;
        let (number, expected) = match must {
            Must::Error(fault) => {
                return ensure(*told == Told::Error(fault), "E1/E12", || {
                    format!("call {caller} must end by {fault:?}, and was told {told:?}")
                });
            }
            Must::Live(index) => (
                self.flights[index].number(),
                self.live(caller, index, waited, told),
            ),
            Must::Cached {
                number,
                reason,
                masked,
            } => {
                let age = self.age(number);
                let policy = self.policy(caller);
                let is_expired = self.verdict_of(number) == Verdicts::Expired;
                let life = self.schedule.store.time_to_live.unwrap_or(FOREVER);
                let usual = life.min(policy.fresh_for);
                let is_fresh = !is_expired && age < self.said(number).unwrap_or(usual);
                (
                    number,
                    Answered {
                        number,
                        is_own: true,
                        source: if is_fresh { Source::Fresh } else { Source::Stale },
                        reason,
                        age: Some(age),
                        collapsed: false,
                        stored: false,
                        masked,
                        waited: if reason == Reason::Hit { 0 } else { waited },
                    },
                )
            }
        };
        self.is_not_outdated(caller, self.calls[caller].order, number)?;
        let right = self
            .numbers
            .get(&number)
            .is_some_and(|index| self.flights[*index].asked == self.asked(caller));
        ensure(right, "E3", || {
            format!("call {caller} gets the answer to request #{number}, another question's")
        })?;
        ensure(*told == Told::Answer(expected.clone()), "E13", || {
            format!("call {caller} must be told\n  {expected:?}, and was told\n  {told:?}")
        })
    }

    fn live(&self, caller: Caller, index: usize, waited: Ms, told: &Told) -> Answered {
        let (flight, call) = (&self.flights[index], &self.calls[caller]);
        let policy = self.policy(caller);
        let is_plain = flight.kind == Kind::Plain;
        let collapsed = match told {
            Told::Answer(answer) if flight.is_uncertain => answer.collapsed,
            _ => !is_plain && (flight.launcher != caller || flight.kind == Kind::Refresh),
        };
        let looked = policy.reads_first() && self.mode(caller) != Mode::Reload;
        let reason = match (is_plain, looked && !call.had_entry) {
            (true, _) => Reason::Bypass,
            (false, true) => Reason::Miss,
            (false, false) => Reason::LiveFirst,
        };
        Answered {
            number: flight.number(),
            is_own: true,
            source: Source::Live,
            reason,
            age: None,
            collapsed,
            stored: flight.is_stored,
            masked: None,
            waited,
        }
    }
}
