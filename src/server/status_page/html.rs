//! A page of HTML made of tables. Every text in it is escaped here.

use std::borrow::Cow;

/// A table with a title.
#[derive(Debug)]
pub(super) struct Table {
    title: &'static str,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(title: &'static str, header: &[&'static str]) -> Self {
        Self { title, header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row of texts.
    pub(super) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.map(ToOwned::to_owned).into());
    }
}

/// A page that is being written.
#[derive(Debug)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn new(title: &str) -> Self {
        let title = escaped(title);
        Self(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title>\
             <style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
        ))
    }

    /// Adds the state of the whole, marked as good or bad.
    pub(super) fn heading(&mut self, text: &str, is_good: bool) {
        let class = if is_good { "good" } else { "bad" };
        self.0.push_str(&format!("<p class=\"{class}\">{}</p>\n<main>\n", escaped(text)));
    }

    pub(super) fn table(&mut self, table: &Table) {
        self.0.push_str(&format!("<section><h2>{}</h2>\n<table>\n", escaped(table.title)));
        if table.header.iter().any(|cell| !cell.is_empty()) {
            self.row("th", table.header.iter().copied());
        }
        for row in &table.rows {
            self.row("td", row.iter().map(String::as_str));
        }
        self.0.push_str("</table></section>\n");
    }

    fn row<'c>(&mut self, tag: &str, cells: impl Iterator<Item = &'c str>) {
        let cells: String = cells.map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
        self.0.push_str(&format!("<tr>{cells}</tr>\n"));
    }

    /// Ends the page, and returns it.
    pub(super) fn end(mut self, footer: &str) -> String {
        self.0.push_str(&format!("</main>\n<footer>{}</footer>\n</body>\n</html>\n", escaped(footer)));
        self.0
    }
}

/// Returns a text as the content of an element (HTML Standard, "Escaping a string").
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            plain => escaped.push(plain),
        }
    }
    escaped.into()
}

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:1.5em;color:#222;background:#fff}\
    h1{font-size:1.4em;margin:0}h2{font-size:1em;margin:0 0 .3em}p{font-weight:bold;margin:.2em 0 1em}\
    .good{color:#176b2c}.bad{color:#b3261e}main{display:flex;flex-wrap:wrap;gap:1.2em}\
    table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.15em .5em;text-align:left}\
    th{background:#f2f2f2;font-weight:600}footer{margin-top:1em;color:#666}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_escaped() {
        let bad = "<script>alert('x')</script>&\"";
        let mut page = Page::new(bad);
        page.heading(bad, true);
        let mut table = Table::new("A <b>", &["<i>"]);
        table.row([bad]);
        page.table(&table);
        let page = page.end(bad);
        assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains("<i>"), "{page}");
        assert_eq!(page.matches("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;").count(), 5);
    }
}
