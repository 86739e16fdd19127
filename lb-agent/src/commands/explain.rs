//! `explain`: asks the running agent why a Service or a VIP is, or is not, served and announced by this node.

use std::fmt::Write;

use crate::{
    api::{
        client,
        rows::{Answer, ExplainRow},
    },
    cli::{ExplainArgs, OutputFormat},
    failure::Failure,
};

/// Runs the command.
///
/// # Errors
/// If no agent answers.
pub fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let path = format!("/v1/explain/{}", args.subject);
    let answer: Answer<ExplainRow> =
        client::get(&args.socket, &path).map_err(|error| Failure::from_error(&error))?;
    let text = match args.output {
        OutputFormat::Table => text(&answer),
        OutputFormat::Json => {
            let json = serde_json::to_string_pretty(&answer);
            json.map_err(|error| Failure::from_error(&error))? + "\n"
        }
    };
    super::print(&text)
}

/// What an answer is not.
const THIS_NODE_ONLY: &str =
    "This is one node's view: each decides for itself, run it there to see another's.";

fn text(answer: &Answer<ExplainRow>) -> String {
    let mut text = String::new();
    for warning in &answer.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for row in &answer.rows {
        let _ = writeln!(text, "{}, as node {} sees it:", row.subject, answer.node);
        for step in &row.steps {
            let _ = writeln!(text, "  {:<11}{}", step.part, step.sentence);
        }
    }
    let _ = writeln!(text, "{THIS_NODE_ONLY}");
    text
}
