//! The page that the benchmarks write.

#[path = "../benches/common/page.rs"]
mod page;

use serde_json::{Map, Value, json};

fn html(all: Value) -> String {
    let all: Map<String, Value> = serde_json::from_value(all).unwrap();
    page::page(&all).html().unwrap()
}

fn figures(median: f64) -> Value {
    json!({ "median": median, "p99": 2.0 * median, "p999": 3.0, "max": 4.0, "n": 100, "allocations": null })
}

#[test]
fn contestants_that_ran_are_in_the_chart_and_in_the_tables() {
    let race =
        |scale: f64| json!({ "ours": figures(scale), "tract": figures(4.0 * scale), "read": figures(scale) });
    let all = json!({ "inference": { "lstm128": race(6.0), "lstm32": race(0.5), "mlp": race(0.6) } });
    let html = html(all);
    let (_, figure) = html.split_once("<figure>").unwrap();
    let (figure, tables) = figure.split_once("</figure>").unwrap();
    for part in ["ours", "tract", "reading the weights", "32 units", "128 units"] {
        assert!(figure.contains(part), "{part}: {figure}");
    }
    assert!(!figure.contains("PyTorch") && !figure.contains("inf") && !figure.contains("NaN"));
    assert!(["lstm32", "lstm128", "mlp"].map(|race| tables.find(race).unwrap()).is_sorted());
    let row =
        |name: &str| tables.split("<tr>").find(|row| row.contains(&format!("<td>{name}</td>"))).unwrap();
    assert!(row("tract").contains(">2.00<") && row("tract").contains(">0.250<"), "{}", row("tract"));
    assert!(!tables.contains("allocations"), "nobody counted any");
}

#[test]
fn parts_that_did_not_run_are_left_out() {
    assert!(!html(json!({})).contains("<h2>"));
    let tick = html(json!({ "tick": { "500Hz": { "tick": { "median": 10.0, "allocations": 0.0 } } } }));
    assert!(tick.contains("A whole tick") && !tick.contains("One step") && !tick.contains("<svg"));
    assert!(tick.contains("allocations") && !tick.contains("ours / it"));
}
