//! Scalar expressions over a relation's columns, of every type, with everything that the three
//! databases agree on.

use crate::text::{Column, Expr, Gen, NO_VALUE, Ty, either};

/// How deep arguments, filters and conditions are nested.
pub(crate) const DEPTH: u32 = 2;

/// An expression of type `ty` over `columns`.
pub(crate) fn scalar(g: &mut Gen, columns: &[Column], ty: Ty, depth: u32) -> Expr {
    if depth == 0 || g.one_in(4) {
        return column(g, columns, ty);
    }
    match ty {
        Ty::Int => int(g, columns, depth - 1),
        Ty::Dec => dec(g, columns, depth - 1),
        Ty::Dbl => dbl(g, columns, depth - 1),
        Ty::Text => text(g, columns, depth - 1),
        Ty::Bool => bool(g, columns, depth - 1),
        Ty::Time => time(g, columns, depth - 1),
        Ty::Date => date(g, columns, depth - 1),
    }
}

/// A DOUBLE, or anything else, whose value is the same on both sides to the last bit.
pub(crate) fn exact(g: &mut Gen, columns: &[Column], ty: Ty, depth: u32) -> Expr {
    let met = g.met.clone();
    for _ in 0..4 {
        let expr = scalar(g, columns, ty, depth);
        if expr.is_exact() {
            return expr;
        }
        g.met.clone_from(&met);
    }
    column(g, columns, ty)
}

/// A condition.
pub(crate) fn condition(g: &mut Gen, columns: &[Column]) -> String {
    scalar(g, columns, Ty::Bool, DEPTH).sql
}

/// A condition that most rows meet.
pub(crate) fn lenient(g: &mut Gen, columns: &[Column]) -> String {
    let (one, two) = (condition(g, columns), condition(g, columns));
    match g.below(3) {
        0 => format!("({one} OR {two})"),
        1 => format!("{one} IS NOT TRUE"),
        _ => format!("{one} IS NOT FALSE"),
    }
}

/// A column of type `ty`.
pub(crate) fn column(g: &mut Gen, columns: &[Column], ty: Ty) -> Expr {
    let fitting: Vec<&Column> = columns.iter().filter(|c| c.ty == ty).collect();
    Expr::exact(&g.pick(&fitting).name)
}

/// A constant of type `ty`, to stand beside an expression of that type.
pub(crate) fn constant(g: &mut Gen, ty: Ty) -> String {
    let number = g.below(40) as i64 - 12;
    match ty {
        Ty::Int => bracketed(number.to_string()),
        Ty::Dec => bracketed(format!("{}.{:02}", number, g.below(100))),
        Ty::Dbl => match g.below(4) {
            0 => bracketed(number.to_string()),
            1 => bracketed(format!("{number}.125")),
            2 => "0.1".into(),
            _ => bracketed(format!("{number}.7654321098765")),
        },
        Ty::Text => g.pick(&["'ok'", "'declined'", "''", "'de'", "'O''Brien'", "'é'"]).into(),
        Ty::Bool => g.pick(&["TRUE", "FALSE"]).into(),
        Ty::Time => g
            .pick(&["TIMESTAMP '2024-03-01 10:00:00'", "TIMESTAMP '2024-03-01 00:00:00.000001'"])
            .into(),
        Ty::Date => g.pick(&["DATE '2024-02-29'", "DATE '1999-12-31'"]).into(),
    }
}

fn bracketed(number: String) -> String {
    if number.starts_with('-') { format!("({number})") } else { number }
}

/// Forms that every type has: CASE, coalesce, nullif, greatest, least.
fn any(g: &mut Gen, columns: &[Column], ty: Ty, depth: u32) -> Expr {
    let a = exact(g, columns, ty, depth).sql;
    let k = constant(g, ty);
    let other = if g.one_in(2) { k } else { exact(g, columns, ty, depth).sql };
    let form = g.pick(&["CASE", "CASE of a value", "coalesce", "nullif", "greatest", "least"]);
    g.note(format!("scalar: {form}"));
    let sql = match form {
        "CASE" => {
            let when = scalar(g, columns, Ty::Bool, depth).sql;
            let end = if g.one_in(4) { String::new() } else { format!(" ELSE {other}") };
            format!("CASE WHEN {when} THEN {a}{end} END")
        }
        "CASE of a value" => {
            let of = column(g, columns, Ty::Text).sql;
            format!("CASE {of} WHEN 'ok' THEN {a} WHEN 'declined' THEN {other} END")
        }
        "coalesce" if g.one_in(3) => format!("coalesce({a}, NULL, {other})"),
        function => format!("{function}({a}, {other})"),
    };
    Expr::exact(sql)
}

fn int(g: &mut Gen, columns: &[Column], depth: u32) -> Expr {
    let choice = g.below(14);
    if choice < 4 {
        return any(g, columns, Ty::Int, depth);
    }
    let a = scalar(g, columns, Ty::Int, depth).sql;
    let sql = match choice {
        4 => {
            let b = scalar(g, columns, Ty::Int, depth).sql;
            let sign = g.pick(&["+", "-"]);
            format!("({a} {sign} {b})")
        }
        5 => format!("({a} * {})", 2 + g.below(5)),
        6 => {
            g.note("scalar: % of integers");
            format!("({a} % {})", 2 + g.below(9))
        }
        7 => {
            g.note("scalar: abs");
            format!("abs({a})")
        }
        8 => {
            let text = scalar(g, columns, Ty::Text, depth).sql;
            let function = g.pick(&["length", "char_length", "position"]);
            g.note(format!("scalar: {function}"));
            match function {
                "position" => format!("position('e' IN {text})"),
                function => format!("{function}({text})"),
            }
        }
        9 => {
            let part = g.pick(&["year", "quarter", "month", "day", "doy", "dow", "hour", "minute"]);
            g.note(format!("scalar: extract({part})"));
            format!("extract({part} FROM {})", scalar(g, columns, Ty::Time, depth).sql)
        }
        10 => {
            g.note("scalar: CAST of BOOLEAN to INTEGER");
            format!("CAST({} AS INTEGER)", scalar(g, columns, Ty::Bool, depth).sql)
        }
        11 => {
            let function = g.pick(&["floor", "ceil", "round", ""]);
            g.note(format!("scalar: CAST of {function}(DOUBLE) to BIGINT"));
            format!("CAST({function}({}) AS BIGINT)", small_double(g, columns))
        }
        12 => {
            g.note("scalar: CAST of DECIMAL to BIGINT");
            format!("CAST({} AS BIGINT)", scalar(g, columns, Ty::Dec, depth).sql)
        }
        _ => {
            g.note("scalar: strpos");
            format!("strpos({}, 'e')", scalar(g, columns, Ty::Text, depth).sql)
        }
    };
    Expr::exact(sql)
}

/// Arithmetic that passes the end of BIGINT now and then, as text: the number, or for us no value
/// and for DuckDB, which would end the query, what stands for that here. `x` is the only column in
/// it, so that nothing else makes it NULL.
pub(crate) fn beyond(g: &mut Gen, x: &str) -> String {
    g.note("scalar: integers near the ends of BIGINT, INTEGER, SMALLINT");
    let depth = 1 + g.below(3) as u32;
    let sql = near_an_end(g, x, depth);
    let text = format!("CAST({sql} AS VARCHAR)");
    let open = either("", &format!("CASE WHEN {x} IS NOT NULL THEN coalesce(TRY("));
    let close = either("", &format!("), '{NO_VALUE}') END"));
    format!("{open}{text}{close}")
}

fn near_an_end(g: &mut Gen, x: &str, depth: u32) -> String {
    if depth == 0 {
        return x.to_string();
    }
    let a = near_an_end(g, x, depth - 1);
    let b = match g.below(3) {
        0 => near_an_end(g, x, depth - 1),
        1 => (g.below(7) as i64).to_string(),
        _ => {
            g.pick(&["32768", "2147483647", "9223372036854775806", "(-4611686018427387904)"]).into()
        }
    };
    match g.below(8) {
        0 => format!("(- {a})"),
        1 => format!("abs({a})"),
        2 => {
            // DuckDB would go on in the narrower type, where Trueup has BIGINTs only.
            let ty = g.pick(&["SMALLINT", "INTEGER", "BIGINT"]);
            let (open, close) = (either("", "CAST("), either("", " AS BIGINT)"));
            format!("{open}CAST({a} AS {ty}){close}")
        }
        3 | 4 => format!("({a} * {b})"),
        5 | 6 => format!("({a} + {b})"),
        _ => format!("({b} - {a})"),
    }
}

/// The DOUBLE column whose values are small enough for BIGINT.
fn small_double(g: &mut Gen, columns: &[Column]) -> String {
    let wild = |column: &Column| column.name.ends_with("score");
    let small: Vec<Column> = columns.iter().filter(|c| !wild(c)).cloned().collect();
    column(g, &small, Ty::Dbl).sql
}

fn dec(g: &mut Gen, columns: &[Column], depth: u32) -> Expr {
    let choice = g.below(10);
    if choice < 3 {
        return any(g, columns, Ty::Dec, depth);
    }
    let a = scalar(g, columns, Ty::Dec, depth).sql;
    let sql = match choice {
        3 | 4 => {
            let ty = g.pick(&[Ty::Dec, Ty::Int]);
            let b = scalar(g, columns, ty, 0).sql;
            let sign = g.pick(&["+", "-"]);
            g.note("scalar: + - of decimals and integers");
            format!("({a} {sign} {b})")
        }
        5 => {
            g.note("scalar: * of decimals");
            let factor = g.pick(&["2", "1.5", "0.01", "(-3)"]);
            format!("({a} * {factor})")
        }
        6 => format!("(- {a})"),
        7 => {
            g.note("scalar: abs");
            format!("abs({a})")
        }
        8 => {
            let function = g.pick(&["round", "floor", "ceil"]);
            g.note(format!("scalar: {function} of DECIMAL"));
            // With its scale back: see the sums of decimals without one in what is left out.
            format!("({function}({a}) + 0.00)")
        }
        _ => {
            g.note("scalar: CAST of BIGINT to DECIMAL");
            format!("CAST({} AS DECIMAL(18,3))", column(g, columns, Ty::Int).sql)
        }
    };
    Expr::exact(sql)
}

fn dbl(g: &mut Gen, columns: &[Column], depth: u32) -> Expr {
    let choice = g.below(14);
    if choice < 4 {
        return any(g, columns, Ty::Dbl, depth);
    }
    if choice == 4 {
        return rounded_twice(g, columns);
    }
    let a = exact(g, columns, Ty::Dbl, depth).sql;
    let sql = match choice {
        5 | 6 => {
            let b =
                if g.one_in(2) { constant(g, Ty::Dbl) } else { column(g, columns, Ty::Dbl).sql };
            let sign = g.pick(&["+", "-", "*"]);
            g.note("scalar: + - * of doubles, and of doubles and literals");
            format!("({a} {sign} {b})")
        }
        7 => {
            let ty = g.pick(&[Ty::Dec, Ty::Int]);
            g.note("scalar: DOUBLE with DECIMAL or BIGINT");
            format!("({a} - {})", column(g, columns, ty).sql)
        }
        8 => {
            let (ty, over) = (g.pick(&[Ty::Dec, Ty::Dbl]), g.pick(&[Ty::Dec, Ty::Int]));
            g.note("scalar: / of decimals and doubles");
            let a = column(g, columns, ty).sql;
            format!("({a} / nullif({}, 0))", column(g, columns, over).sql)
        }
        9 => {
            g.note("scalar: CAST of DECIMAL or BIGINT to DOUBLE");
            let ty = g.pick(&[Ty::Dec, Ty::Int]);
            format!("CAST({} AS DOUBLE)", column(g, columns, ty).sql)
        }
        10 => {
            let function = g.pick(&["floor", "ceil", "round", "trunc", "abs"]);
            g.note(format!("scalar: {function} of DOUBLE"));
            format!("{function}({})", small_double(g, columns))
        }
        11 => {
            g.note("scalar: extract(epoch FROM time)");
            format!("extract(epoch FROM {})", scalar(g, columns, Ty::Time, depth).sql)
        }
        12 => {
            g.note("scalar: extract(epoch FROM time - time)");
            let (a, b) = (column(g, columns, Ty::Time).sql, constant(g, Ty::Time));
            let b = if g.one_in(2) { b } else { scalar(g, columns, Ty::Time, depth).sql };
            return Expr::near(format!("extract(epoch FROM {a} - {b})"), "0");
        }
        _ => format!("(- {a})"),
    };
    Expr::exact(sql)
}

/// Functions whose last bit is the library's affair.
fn rounded_twice(g: &mut Gen, columns: &[Column]) -> Expr {
    let a = small_double(g, columns);
    let function = g.pick(&["ln", "exp", "power", "sqrt", "log10"]);
    g.note(format!("scalar: {function}"));
    Expr::near(
        match function {
            "ln" | "log10" => format!("{function}(1 + abs({a}))"),
            "exp" => format!("exp({a} / 100)"),
            "power" => format!("power({a}, 2)"),
            _ => format!("sqrt(abs({a}))"),
        },
        "0",
    )
}

fn text(g: &mut Gen, columns: &[Column], depth: u32) -> Expr {
    let choice = g.below(14);
    if choice < 3 {
        return any(g, columns, Ty::Text, depth);
    }
    let a = scalar(g, columns, Ty::Text, depth).sql;
    let (construct, sql) = match choice {
        3 => ("lower", format!("lower({a})")),
        4 => ("upper", format!("upper({a})")),
        5 => ("||", format!("({a} || '-' || {})", column(g, columns, Ty::Text).sql)),
        6 => ("substring", format!("substring({a} FROM 2 FOR {})", 1 + g.below(3))),
        7 => ("trim", format!("trim({a})")),
        8 => ("replace", format!("replace({a}, 'e', 'ee')")),
        9 => ("left, right", format!("{}({a}, 2)", g.pick(&["left", "right"]))),
        10 => ("reverse", format!("reverse({a})")),
        11 => ("concat", format!("concat({a}, NULL, '+', {})", column(g, columns, Ty::Text).sql)),
        12 => ("split_part", format!("split_part({a}, 'e', {})", 1 + g.below(2))),
        _ => {
            let int = scalar(g, columns, Ty::Int, depth).sql;
            ("CAST of BIGINT to VARCHAR", format!("CAST({int} AS VARCHAR)"))
        }
    };
    g.note(format!("scalar: {construct}"));
    Expr::exact(sql)
}

fn bool(g: &mut Gen, columns: &[Column], depth: u32) -> Expr {
    let ty = g.pick(&Ty::ALL);
    let a = exact(g, columns, ty, depth).sql;
    let b = if g.one_in(2) { constant(g, ty) } else { exact(g, columns, ty, depth).sql };
    let (construct, sql) = match g.below(11) {
        0 => ("IS NULL", format!("{a} IS {}NULL", g.pick(&["", "NOT "]))),
        1 => ("IN", format!("{a} {}IN ({}, {b})", g.pick(&["", "NOT "]), constant(g, ty))),
        2 => {
            let low = constant(g, ty);
            ("BETWEEN", format!("{a} {}BETWEEN {low} AND {b}", g.pick(&["", "NOT "])))
        }
        3 => {
            let distinct = g.pick(&["IS DISTINCT FROM", "IS NOT DISTINCT FROM"]);
            ("IS DISTINCT FROM", format!("{a} {distinct} {b}"))
        }
        4 => {
            let text = scalar(g, columns, Ty::Text, depth).sql;
            let like = g.pick(&["LIKE", "NOT LIKE", "ILIKE"]);
            ("LIKE", format!("{text} {like} {}", g.pick(&["'d%'", "'%e%'", "'_k'", "'D%d'"])))
        }
        5 => {
            let truth = scalar(g, columns, Ty::Bool, depth).sql;
            let is = g.pick(&["TRUE", "NOT TRUE", "FALSE", "NOT FALSE"]);
            ("IS TRUE", format!("({truth}) IS {is}"))
        }
        6 => {
            let (a, b) = (scalar(g, columns, Ty::Bool, depth), scalar(g, columns, Ty::Bool, depth));
            let (and, not) = (g.pick(&["AND", "OR"]), g.pick(&["", "NOT "]));
            ("AND, OR, NOT", format!("(({}) {and} {not}({}))", a.sql, b.sql))
        }
        7 => {
            let types = [Ty::Int, Ty::Dec, Ty::Dbl];
            let (one, two) = (g.pick(&types), g.pick(&types));
            let (a, b) = (exact(g, columns, one, depth).sql, exact(g, columns, two, depth).sql);
            ("numbers of two types compared", format!("{a} {} {b}", comparison(g)))
        }
        _ => ("comparison", format!("{a} {} {b}", comparison(g))),
    };
    g.note(format!("scalar: {construct}"));
    Expr::exact(format!("({sql})"))
}

/// A sign of comparison.
pub(crate) fn comparison(g: &mut Gen) -> &'static str {
    g.pick(&["=", "<>", "<", "<=", ">", ">="])
}

fn time(g: &mut Gen, columns: &[Column], depth: u32) -> Expr {
    let choice = g.below(5);
    if choice < 2 {
        return any(g, columns, Ty::Time, depth);
    }
    let a = scalar(g, columns, Ty::Time, depth).sql;
    let (construct, sql) = match choice {
        2 => {
            let part = g.pick(&["minute", "hour", "day", "month"]);
            ("date_trunc", format!("date_trunc('{part}', {a})"))
        }
        _ => {
            let sign = g.pick(&["+", "-"]);
            let interval = g.pick(&["90 minutes", "1 day", "0.000001 seconds", "30 days"]);
            ("time and interval", format!("({a} {sign} INTERVAL '{interval}')"))
        }
    };
    g.note(format!("scalar: {construct}"));
    Expr::exact(sql)
}

fn date(g: &mut Gen, columns: &[Column], depth: u32) -> Expr {
    if g.one_in(2) {
        return any(g, columns, Ty::Date, depth);
    }
    g.note("scalar: CAST of TIMESTAMP to DATE");
    Expr::exact(format!("CAST({} AS DATE)", column(g, columns, Ty::Time).sql))
}
