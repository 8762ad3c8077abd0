//! What the store must hold, and what it may answer.

use super::{
    super::{
        log::{Asked, Became, Brought, Found, Number, Owner},
        schedule::Ms,
    },
    Model, Next, Verdict, Violation, ensure,
    flights::Kind,
    violation,
};

impl Model<'_> {
    /// The store answered somebody: with what it must hold by now.
    pub(super) fn read(&mut self, by: Owner, key: usize, found: Found) -> Verdict {
        let asked = self.owners_key(by)?;
        self.same_key(key, asked)?;
        let held = self.held(asked);
        match found {
            Found::Trouble => {}
            Found::Nothing => {
                ensure(held.is_none(), "S1/E9", || {
                    format!(
                        "the store holds nothing of {asked:?}, and should hold the answer to request {held:?}"
                    )
                })?;
                self.stored.remove(&asked); // what expired
            }
            Found::Entry { number, sent } => {
                ensure(held == Some(number), "S1/S3", || {
                    format!(
                        "the store holds the answer to request #{number} of {asked:?}, and should hold {held:?}"
                    )
                })?;
                ensure(self.sent_at(number) == sent, "38", || {
                    format!(
                        "the entry of request #{number} says it was sent at {sent} ms, and is not as old as it is"
                    )
                })?;
            }
        }
        match by {
            Owner::Caller(caller) => self.caller_read(caller, found),
            Owner::Flight(number) => self.eviction_read(number, found),
            Owner::Invalidator(_) | Owner::Other => violation("model", "somebody unknown reads the store"),
        }
    }

    /// After an answer that says there is no such record: the older entry goes.
    fn eviction_read(&mut self, number: Number, found: Found) -> Verdict {
        if let Found::Entry { number: older, .. } = found
            && older < number
        {
            self.next = Some(Next::Remove(number));
        }
        Ok(())
    }

    pub(super) fn putting(&mut self, key: usize, number: Number) -> Verdict {
        let flight = &self.flights[self.numbered(number)?];
        let is_good = match flight.brought {
            Some(Brought::Good) => true,
            Some(Brought::Odd) => self.is_untyped(flight.launcher),
            _ => false,
        };
        ensure(
            is_good && flight.kind != Kind::Plain && !flight.says.no_store,
            "E11",
            || format!("the answer to request #{number} is stored, and should not be"),
        )?;
        let asked = flight.asked;
        self.same_key(key, asked)
    }

    pub(super) fn put(&mut self, by: Owner, number: Number, became: Became) -> Verdict {
        let index = self.numbered(number)?;
        let asked = self.flights[index].asked;
        let newer = self.stored.get(&asked).is_some_and(|held| *held > number);
        match became {
            Became::Trouble => {}
            Became::Older => ensure(newer, "S7", || {
                format!("the answer to request #{number} is called older")
            })?,
            Became::Stored => {
                let is_gone = newer && self.held(asked).is_none();
                ensure(!newer || is_gone, "S7", || {
                    format!("the answer to request #{number} replaces that of a later request")
                })?;
                self.stored.insert(asked, number);
                self.flights[index].is_stored |= by == Owner::Flight(number);
            }
        }
        Ok(())
    }

    pub(super) fn removed(&mut self, by: Owner, number: Number, was_there: Option<bool>) -> Verdict {
        let asked = self.owners_key(by)?;
        let held = self.stored.get(&asked).copied();
        let is_expired = held.is_some() && self.held(asked).is_none();
        let is_there = held.is_some() && (number == 0 || held == Some(number));
        ensure(
            is_expired || was_there.is_none_or(|was| was == is_there),
            "8",
            || format!("the entry of request #{number} is removed: {was_there:?}, it was there: {is_there}"),
        )?;
        if was_there == Some(true) {
            self.stored.remove(&asked);
        }
        Ok(())
    }

    /// The entry of a key that the store must answer with now.
    pub(super) fn held(&self, asked: Asked) -> Option<Number> {
        let number = *self.stored.get(&asked)?;
        let age = self.now - self.sent_at(number);
        let is_alive = self.schedule.store.time_to_live.is_none_or(|life| age < life);
        is_alive.then_some(number)
    }

    pub(super) fn sent_at(&self, number: Number) -> Ms {
        let index = self.numbers.get(&number);
        index
            .and_then(|index| self.flights[*index].sent)
            .map_or(Ms::MAX, |(_, at)| at)
    }

    /// How long an answer is fresh by its service's own word.
    pub(super) fn said(&self, number: Number) -> Option<Ms> {
        let index = self.numbers.get(&number)?;
        self.flights[*index].says.fresh_for
    }

    pub(super) fn age(&self, number: Number) -> Ms {
        self.now.saturating_sub(self.sent_at(number))
    }

    fn owners_key(&self, by: Owner) -> Result<Asked, Violation> {
        match by {
            Owner::Caller(caller) => Ok(self.asked(caller)),
            Owner::Flight(number) => Ok(self.flights[self.numbered(number)?].asked),
            Owner::Invalidator(asked) => Ok(asked),
            Owner::Other => Err(Violation::new("model", "somebody unknown uses the store")),
        }
    }

    /// One key for one question, and no other question for it.
    fn same_key(&mut self, key: usize, asked: Asked) -> Verdict {
        let (by_key, by_asked) = (
            *self.keys.entry(key).or_insert(asked),
            *self.asked.entry(asked).or_insert(key),
        );
        ensure(by_key == asked && by_asked == key, "K1/K3", || {
            format!("{asked:?} and {by_key:?} have keys {key} and {by_asked}")
        })
    }
}
