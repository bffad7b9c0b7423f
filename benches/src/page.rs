//! The page of the report: one file with everything in it, pictures too.
//!
//! First what is bounded and whether it is kept, since that is what one comes for; then what each bench said, in its order.

use std::fmt::{self, Write};

use crate::cli::Result;
use crate::machine::Machine;
use crate::results::{Claim, Item, Record};
use crate::table::Table;

/// The text of the page: what benches have found, and why others have found nothing.
pub fn page(records: &[Record], failures: &[String]) -> Result<String> {
    let mut page = String::from(HEAD);
    summary(&mut page, records, failures)?;
    for record in records {
        bench(&mut page, record, records)?;
    }
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

fn summary(page: &mut String, records: &[Record], failures: &[String]) -> fmt::Result {
    writeln!(page, "<h1>wakeful, measured</h1>")?;
    if let Some(record) = records.first() {
        writeln!(page, "<p>{}</p>", Escaped(&record.machine.to_string()))?;
    }
    if records.iter().any(|record| record.quick) {
        writeln!(
            page,
            "<p class=\"missed\">Measured in a hurry (<code>--quick</code>): few and short rounds.</p>"
        )?;
    }
    for failure in failures {
        let failure = Escaped(failure);
        writeln!(page, "<p class=\"missed\">No results of {failure}</p>")?;
    }

    let claims: Vec<(&str, &Claim)> = records
        .iter()
        .flat_map(|record| claims(record).map(|claim| (record.bench.as_str(), claim)))
        .collect();
    let kept = claims.iter().filter(|(_, claim)| claim.is_kept()).count();
    writeln!(page, "<h2>Bounds: {kept} of {} kept</h2>", claims.len())?;
    writeln!(
        page,
        "<table>\n<tr><th>bench</th><th>work</th><th>ours</th><th>peer</th><th>figure</th><th>bound</th><th></th></tr>"
    )?;
    for (bench, claim) in claims {
        let class = match (claim.is_kept(), claim.excuse.is_empty()) {
            (true, _) => "kept",
            (false, true) => "missed",
            (false, false) => "excused",
        };
        writeln!(
            page,
            "<tr class=\"{class}\"><td><a href=\"#{0}\">{0}</a></td><td class=\"text\">{1}</td><td>{2}</td><td>{3}</td><td>{4}</td><td>{5}</td><td>{6}</td></tr>",
            Escaped(bench),
            Escaped(&claim.work),
            Escaped(&claim.ours),
            Escaped(&claim.peer),
            claim.figure_text(),
            claim.bound,
            Escaped(claim.verdict()),
        )?;
    }
    writeln!(page, "</table>")
}

fn claims(record: &Record) -> impl Iterator<Item = &Claim> {
    record.items.iter().filter_map(|item| match item {
        Item::Claim(claim) => Some(claim),
        _ => None,
    })
}

fn bench(page: &mut String, record: &Record, all: &[Record]) -> Result<()> {
    let name = Escaped(&record.bench);
    writeln!(page, "<h2 id=\"{name}\">{name}</h2>")?;
    let is_common = |machine: &Machine| all.iter().all(|other| other.machine == *machine);
    if !is_common(&record.machine) {
        writeln!(page, "<p>{}</p>", Escaped(&record.machine.to_string()))?;
    }
    for item in &record.items {
        match item {
            Item::Text(text) => writeln!(page, "<p>{}</p>", Escaped(text.trim()))?,
            Item::Table { title, table } => self::table(page, title, table)?,
            Item::Claim(claim) => {
                writeln!(
                    page,
                    "<p class=\"claim\">{}</p>",
                    Escaped(&claim.to_string())
                )?;
            }
            Item::Plot(plot) => writeln!(page, "<figure>\n{}</figure>", plot.draw()?)?,
        }
    }
    Ok(())
}

fn table(page: &mut String, title: &str, table: &Table) -> fmt::Result {
    writeln!(page, "<table>")?;
    if !title.is_empty() {
        writeln!(page, "<caption>{}</caption>", Escaped(title))?;
    }
    for (number, row) in table.rows().enumerate() {
        let tag = if number == 0 { "th" } else { "td" };
        write!(page, "<tr>")?;
        for cell in row {
            write!(page, "<{tag}>{}</{tag}>", Escaped(cell))?;
        }
        writeln!(page, "</tr>")?;
    }
    writeln!(page, "</table>")
}

/// Text within HTML, where it can be no tag and end no attribute.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>wakeful, measured</title>
<style>
body { font-family: sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.9rem; }
caption { text-align: left; font-weight: bold; padding: 0.3rem 0; }
th, td { padding: 0.15rem 0.6rem; text-align: right; border-bottom: 1px solid #eee; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, td.text { text-align: left; }
figure { margin: 1rem 0; }
svg { max-width: 100%; height: auto; }
.claim { margin: 0.2rem 0; }
.missed { color: #b00020; font-weight: bold; }
.excused { color: #806000; }
</style>
</head>
<body>
"#;

#[cfg(test)]
mod tests {
    use super::page;
    use crate::machine::Machine;
    use crate::plot::{Axis, Line, Plot};
    use crate::results::{Bound, Claim, Item, Record};
    use crate::table::Table;

    fn record(items: Vec<Item>) -> Record {
        Record {
            bench: "echo".to_owned(),
            quick: false,
            machine: Machine::new().unwrap(),
            items,
        }
    }

    fn claim(figure: f64, excuse: &str) -> Item {
        Item::Claim(Claim {
            work: "p50 & p99".to_owned(),
            ours: "1 µs".to_owned(),
            peer: "tokio 2 µs".to_owned(),
            figure: Some(figure),
            bound: Bound::AtMost(0.5),
            excuse: excuse.to_owned(),
        })
    }

    #[test]
    fn the_page_has_all_that_was_found_and_no_tag_of_a_text() {
        let mut table = Table::new(["server", "a < b"]);
        table.row(vec!["ours".to_owned(), "1".to_owned()]);
        let plot = Plot {
            name: "latency".to_owned(),
            title: "Latency".to_owned(),
            x: Axis::log("connections"),
            y: Axis::linear("µs"),
            lines: vec![Line {
                name: "ours".to_owned(),
                points: vec![(1.0, 1.0)],
            }],
        };
        let title = "by <number>".to_owned();
        let items = vec![
            Item::Text("a <b>".to_owned()),
            Item::Table { title, table },
            Item::Plot(plot),
        ];
        let page = page(&[record(items)], &["udp: no <socket>".to_owned()]).unwrap();
        for part in [
            "<p>a &lt;b&gt;</p>",
            "<caption>by &lt;number&gt;</caption>",
            "<th>a &lt; b</th>",
            "<td>ours</td>",
            "<svg",
            "udp: no &lt;socket&gt;",
            "0 of 0 kept",
        ] {
            assert!(page.contains(part), "no {part:?}");
        }
        assert_eq!(page.matches("<h2 id=\"echo\">").count(), 1);
    }

    #[test]
    fn a_missed_bound_is_marked_and_an_excused_one_is_not_counted_as_kept() {
        let items = vec![claim(0.4, ""), claim(0.6, ""), claim(0.6, "client-bound")];
        let page = page(&[record(items)], &[]).unwrap();
        assert!(page.contains("1 of 3 kept"));
        for class in ["kept", "missed", "excused"] {
            assert_eq!(page.matches(&format!("<tr class=\"{class}\">")).count(), 1);
        }
        assert!(page.contains("p50 &amp; p99"));
    }
}
