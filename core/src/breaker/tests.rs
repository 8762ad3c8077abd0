use super::*;

const S: u64 = 1_000_000_000;

fn at(seconds: f64) -> Moment {
    Moment::from_nanos((1e9 * (1e6 + seconds)) as u64)
}

fn is_open(circuit: Circuit) -> bool {
    matches!(circuit, Circuit::Open(left) if left > Duration::ZERO)
}

fn memory() -> Memory {
    Memory::new(Breaker::default(), "get")
}

/// Proves: 48, E16.
#[test]
fn five_failures_in_a_row_open_it_and_one_success_closes_it() {
    let mut memory = memory();
    for _ in 0..4 {
        memory.failed(at(0.0));
    }
    memory.succeeded(at(0.0));
    for _ in 0..4 {
        memory.failed(at(0.0));
    }
    assert_eq!(memory.ask(at(0.0)), Circuit::Closed);
    memory.failed(at(0.0));
    assert!(is_open(memory.ask(at(0.5))));
    memory.succeeded(at(0.6));
    assert_eq!(memory.ask(at(0.6)), Circuit::Closed);
}

#[test]
fn half_of_twenty_within_half_a_minute_open_it() {
    let mut memory = memory();
    for n in 0..19 {
        if n % 2 == 0 {
            memory.failed(at(n as f64))
        } else {
            memory.succeeded(at(n as f64))
        }
    }
    assert_eq!(memory.ask(at(19.0)), Circuit::Closed);
    memory.failed(at(19.0));
    assert!(is_open(memory.ask(at(19.0))));

    let mut memory = self::memory();
    for n in 0..40 {
        let now = at(2.0 * n as f64); // half of them fail, but never twenty within half a minute
        if n % 2 == 0 {
            memory.failed(now)
        } else {
            memory.succeeded(now)
        }
        assert_eq!(memory.ask(now), Circuit::Closed, "{n}");
    }
}

/// Proves: 49, E16.
#[test]
fn one_probe_per_pause_and_pauses_double() {
    let mut memory = memory();
    (0..5).for_each(|_| memory.failed(at(0.0)));
    let (mut now, mut pauses) = (0.0, Vec::new());
    let mut last = 0.0;
    while pauses.len() < 8 {
        now += 0.01;
        if memory.ask(at(now)) == Circuit::Probe {
            assert!(is_open(memory.ask(at(now))));
            pauses.push(now - last);
            last = now;
        }
    }
    for (pause, expected) in pauses.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]) {
        assert!((0.79..1.22).contains(&(pause / expected)), "{pauses:?}");
    }
    assert!(pauses[5] != pauses[6], "pauses differ");
}

#[test]
fn settings_hold() {
    let settings = Breaker::default()
        .after_failures(1)
        .pauses(Duration::from_secs(10), Duration::from_secs(5))
        .at_ratio(1.0, 1000, Duration::from_nanos(S));
    let mut memory = Memory::new(settings, "get");
    memory.failed(at(0.0));
    assert!(is_open(memory.ask(at(7.9))) && memory.look(at(12.1)) == Circuit::Probe);
    assert_eq!(memory.ask(at(12.1)), Circuit::Probe);
    assert!(
        is_open(memory.ask(at(20.0))) && memory.ask(at(24.2)) == Circuit::Probe,
        "never shorter"
    );
}

/// It said one, where half of twenty had failed.
#[test]
fn it_says_how_many_failures_opened_it() {
    let opened = |endings: &[Ending]| {
        let mut memory = memory();
        let mut turns = endings.iter().filter_map(|ending| memory.note(at(0.0), *ending));
        turns.next()
    };
    assert_eq!(opened(&[Ending::Silent; 5]), Some(Turn::Opened(5)));
    let half = [Ending::Answered, Ending::Silent].repeat(10);
    assert_eq!(opened(&half), Some(Turn::Opened(10)));
}

#[test]
fn the_longest_pause_there_is_does_no_harm() {
    let mut memory = Memory::new(Breaker::default().pauses(Duration::MAX, Duration::MAX), "get");
    for _ in 0..20 {
        memory.pause(at(0.0), Duration::MAX);
        assert!(is_open(memory.ask(at(1e6))));
    }
}
