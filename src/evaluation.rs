//! What the learned parts are worth on recordings: trained on one part of the time, tested on another, beside strong
//! baselines in the same run; and what learning while tracking is worth on the simulated arm and the simulated base, beside
//! strong controllers.

pub mod dynamics;
pub mod prediction;
#[cfg(feature = "sim")]
pub mod tracking;
#[cfg(feature = "sim")]
pub mod base_tracking;

#[cfg(feature = "sim")]
use crate::report::Table;

/// What a suite must show: [scenario, controller, claim], [found, at most], and whether it holds.
#[cfg(feature = "sim")]
fn table_of_statements<'a>(statements: impl IntoIterator<Item = ([&'a str; 3], [f64; 2], bool)>) -> Table {
    let mut table = Table::new("Statements", ["scenario", "controller", "claim", "found", "at most", ""]);
    for ([scenario, controller, claim], [found, bound], pass) in statements {
        let holds = if pass { "holds" } else { "FAILS" };
        table.row([scenario, controller, claim, &format!("{found:.3}"), &format!("{bound:.2}"), holds]);
    }
    table
}
