//! In which order a cassette's calls were recorded.

/// The recordings of one cassette, each the number of its rule, in the order in which they began.
#[derive(Debug)]
pub(crate) struct Order {
    /// `None` once it was replayed.
    recorded: Vec<Option<usize>>,
}

impl Order {
    pub(crate) fn new(recorded: impl IntoIterator<Item = usize>) -> Self {
        Self {
            recorded: recorded.into_iter().map(Some).collect(),
        }
    }

    /// A call is answered by `rule`. If another one had to come before, that one's rule.
    pub(crate) fn replay(&mut self, rule: usize) -> Option<usize> {
        let place = self.recorded.iter().position(|own| *own == Some(rule))?;
        let due = self.recorded.iter().flatten().next().copied();
        self.recorded[place] = None;
        due.filter(|due| *due != rule)
    }
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn what_comes_too_early_is_told_once() {
        let mut order = Order::new([1, 2, 1, 3]);
        assert_eq!(order.replay(1), None);
        assert_eq!(order.replay(1), Some(2));
        assert_eq!(order.replay(2), None);
        assert_eq!(order.replay(7), None, "of another cassette");
        assert_eq!(order.replay(3), None);
        assert_eq!(
            order.replay(3),
            None,
            "more often than recorded: that is told elsewhere"
        );
    }
}
