//! The reports as a page with plots.

use super::{DynamicsReport, Method};
use crate::report::{LineChart, Page, Series};

/// All reports on one page.
pub fn page(reports: &[DynamicsReport]) -> Page {
    let subtitle = "efforts explained by the motion that they caused, on time that was not trained on";
    let mut page = Page::new("Inverse dynamics", subtitle);
    page.paragraph(
        "1 is as good as the mean of the effort, 0 is perfect. Simplest model first; the last is the whole one. Figures \
         are of the median seed.",
    );
    for report in reports {
        page.heading(report.split.to_string())
            .paragraph(report.origins.join(", "))
            .table(report.table())
            .figure([by_joint(report)], "Error of each joint.");
        for note in &report.notes {
            page.paragraph(note.clone());
        }
    }
    page
}

fn by_joint(report: &DynamicsReport) -> LineChart {
    let curve = |method: &Method| {
        let median = method.runs.iter().find(|run| run.mean == method.median());
        let joints = median.map_or(&[][..], |run| &run.joints).iter().enumerate();
        let points = joints.filter_map(|(index, figure)| Some(((index + 1) as f64, (*figure)?)));
        Series::line(method.name.clone(), points.collect())
    };
    LineChart {
        title: "Mean squared error over variance".into(),
        x_label: "joint".into(),
        y_label: "nMSE".into(),
        series: report.methods.iter().map(curve).collect(),
        x_log: false,
        y_log: true,
        marks: Vec::new(),
    }
}
