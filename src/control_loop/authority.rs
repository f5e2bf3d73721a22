//! The share α of the learned residual in the command.

/// The share returns to its ceiling in one second, and leaves it in a fifth: distrust is faster than trust.
const RISE: f64 = 1.0; // 1/s
const FALL: f64 = 5.0; // 1/s

#[derive(Clone, Debug)]
pub struct Authority {
    ceiling: f64,
    value: f64,
}

impl Authority {
    pub fn new(ceiling: f64) -> Self {
        Self { ceiling, value: 0.0 }
    }

    pub fn value(&self) -> f64 {
        self.value
    }

    pub fn set_ceiling(&mut self, ceiling: f64) {
        self.ceiling = ceiling.clamp(0.0, 1.0);
    }

    /// For a residual that must not act even one tick more.
    pub fn drop_to_zero(&mut self) {
        self.value = 0.0;
    }

    /// Moves towards the ceiling, or towards zero when something stands against what is learned, or nothing is. `dt` in
    /// seconds.
    pub fn update(&mut self, may_act: bool, dt: f64) -> f64 {
        let target = if may_act { self.ceiling } else { 0.0 };
        self.value = if target > self.value {
            (self.value + RISE * dt).min(target)
        } else {
            (self.value - FALL * dt).max(target)
        };
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_slowly_and_falls_fast() {
        let mut authority = Authority::new(0.8);
        assert_eq!(authority.update(true, 0.5), 0.5);
        assert_eq!(authority.update(true, 0.5), 0.8);
        assert!((authority.update(false, 0.1) - 0.3).abs() < 1e-12);
        assert_eq!(authority.update(false, 0.1), 0.0);
    }

    #[test]
    fn a_ceiling_of_zero_is_exactly_zero() {
        let mut authority = Authority::new(0.0);
        assert_eq!(authority.update(true, 10.0), 0.0);
    }
}
