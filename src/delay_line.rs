//! Commands on their way.

/// The commands of the last steps, in a ring.
#[derive(Clone, Debug)]
pub struct DelayLine {
    commands: Vec<Vec<f64>>,
    newest: usize,
    count: usize,
}

impl DelayLine {
    pub fn new(degrees_of_freedom: usize, longest: usize) -> Self {
        Self { commands: vec![vec![0.0; degrees_of_freedom]; longest + 1], newest: 0, count: 0 }
    }

    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// Takes the command of this step.
    pub fn push(&mut self, command: &[f64]) {
        let size = self.commands.len();
        self.newest = (self.newest + 1) % size;
        self.commands[self.newest].copy_from_slice(command);
        self.count = (self.count + 1).min(size);
    }

    /// The command that came `age` steps before the newest, or the first there was; none before that.
    pub fn ago(&self, age: usize) -> Option<&[f64]> {
        let size = self.commands.len();
        let age = age.min(self.count.checked_sub(1)?);
        Some(&self.commands[(self.newest + size - age) % size])
    }

    /// Takes the command of this step, gives that of `delay` steps ago, or the first there was.
    #[cfg(any(feature = "sim", test))]
    pub fn exchange(&mut self, command: &[f64], delay: usize) -> &[f64] {
        self.push(command);
        self.ago(delay).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_line_is_exact_and_begins_with_the_first_command() {
        let mut line = DelayLine::new(1, 3);
        let delayed: Vec<f64> = (1..=6).map(|i| line.exchange(&[f64::from(i)], 2)[0]).collect();
        assert_eq!(delayed, [1.0, 1.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(line.exchange(&[7.0], 0), [7.0]);
        assert_eq!(line.exchange(&[8.0], 3), [5.0]);
        line.clear();
        assert_eq!(line.exchange(&[9.0], 3), [9.0]);
    }
}
