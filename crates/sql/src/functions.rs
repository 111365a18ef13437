//! Which functions definitions may call, and what to say of those that they may not.

use datafusion_expr::{ScalarUDF, Volatility};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Functions that could build a text of any size from a short definition.
const UNBOUNDED: [&str; 4] = ["repeat", "lpad", "rpad", "space"];

/// Functions that no database has, or that mean something else there: `to_char` of PostgreSQL has
/// other patterns, for one.
const UNLIKE: [&str; 28] = [
    "arrow_cast",
    "arrow_field",
    "arrow_metadata",
    "arrow_try_cast",
    "arrow_typeof",
    "cast_to_type",
    "date_format",
    "from_unixtime",
    "get_field",
    "named_struct",
    "row",
    "struct",
    "to_char",
    "to_date",
    "to_local_time",
    "to_time",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
    "to_unixtime",
    "try_cast_to_type",
    "union_extract",
    "union_tag",
    "with_metadata",
    "make_time",
    "nanvl",
];

/// Functions of the clock, of chance or of the session, as the databases call them.
const VOLATILE: [&str; 18] = [
    "clock_timestamp",
    "current_date",
    "current_time",
    "current_timestamp",
    "current_user",
    "gen_random_uuid",
    "getdate",
    "localtime",
    "localtimestamp",
    "now",
    "rand",
    "random",
    "session_user",
    "statement_timestamp",
    "sysdate",
    "today",
    "uuid",
    "version",
];

/// Aggregates and window functions that databases have and Trueup has not, with what to write
/// instead.
const UNKEPT: [(&str, &str); 20] = [
    ("row_number", "write count(*) over the same window with a frame that ends at CURRENT ROW"),
    ("rank", "compare with a min, max or avg over the window"),
    ("dense_rank", "compare with a min, max or avg over the window"),
    ("percent_rank", "compare with approx_percentile_cont(x, p) over the window"),
    ("cume_dist", "compare with approx_percentile_cont(x, p) over the window"),
    ("ntile", "compare with approx_percentile_cont(x, p) over the window"),
    ("lead", "lead looks ahead, which no live answer can; write lag(x, n)"),
    ("nth_value", "write first_value, last_value or lag(x, n)"),
    ("median", "write approx_percentile_cont(x, 0.5), which is exact in exact windows"),
    ("percentile_cont", "write approx_percentile_cont(x, p), which is exact in exact windows"),
    ("percentile_disc", "write approx_percentile_cont(x, p), which is exact in exact windows"),
    ("quantile_cont", "write approx_percentile_cont(x, p), which is exact in exact windows"),
    ("approx_median", "write approx_percentile_cont(x, 0.5)"),
    ("string_agg", "write array_agg(x) over a ROWS frame"),
    ("mode", "count the values of interest: count(*) FILTER (WHERE x = ...)"),
    ("any_value", "write first_value or last_value"),
    ("corr", "write the sums it is made of: avg(x * y), avg(x), avg(y), ..."),
    ("covar_pop", "write avg(x * y) - avg(x) * avg(y)"),
    ("covar_samp", "write the sums it is made of: avg(x * y), avg(x), avg(y), ..."),
    ("regr_slope", "write the sums it is made of: avg(x * y), avg(x), avg(y), ..."),
];

/// What calling `name` as a scalar function comes to.
pub(crate) enum Scalar {
    /// It can be called.
    Known,
    /// It gives another value every time, so training could not repeat what serving did.
    Volatile,
    /// Its result has no bound.
    Unbounded,
    /// It means something else in the databases, or is not there.
    Unlike,
    /// There is none; the nearest name there is.
    Unknown(Option<String>),
}

static SCALARS: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    for function in datafusion_functions::all_default_functions() {
        let stable = function.signature().volatility == Volatility::Immutable;
        let names = std::iter::once(function.name()).chain(function.aliases().iter().map(|a| &**a));
        for name in names.map(str::to_string).collect::<Vec<_>>() {
            let barred = [&VOLATILE[..], &UNBOUNDED, &UNLIKE].concat().contains(&&*name);
            if stable && !barred {
                all.insert(name, Arc::clone(&function));
            }
        }
    }
    all
});

/// The scalar function called `name`, in lower case.
pub(crate) fn scalar(name: &str) -> Option<Arc<ScalarUDF>> {
    SCALARS.get(name).cloned()
}

/// The names of all scalar functions.
pub(crate) fn scalar_names() -> Vec<String> {
    let mut names: Vec<String> = SCALARS.keys().cloned().collect();
    names.sort_unstable();
    names
}

/// What calling `name`, in lower case, comes to.
pub(crate) fn classify(name: &str) -> Scalar {
    if SCALARS.contains_key(name) {
        return Scalar::Known;
    }
    if UNBOUNDED.contains(&name) {
        return Scalar::Unbounded;
    }
    if UNLIKE.contains(&name) {
        return Scalar::Unlike;
    }
    let exists = |function: &Arc<ScalarUDF>| function.name() == name;
    if VOLATILE.contains(&name) || datafusion_functions::all_default_functions().iter().any(exists)
    {
        return Scalar::Volatile;
    }
    let names = scalar_names();
    Scalar::Unknown(crate::names::closest(name, names.iter().map(|n| &**n)).map(str::to_string))
}

/// What to write instead of an aggregate or window function that is not kept.
pub(crate) fn unkept(name: &str) -> Option<&'static str> {
    UNKEPT.iter().find(|(unkept, _)| *unkept == name).map(|(_, help)| *help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_clock_and_chance_are_not_offered() {
        for name in VOLATILE {
            assert!(scalar(name).is_none(), "{name}");
            assert!(matches!(classify(name), Scalar::Volatile), "{name}");
        }
        for function in datafusion_functions::all_default_functions() {
            if function.signature().volatility != Volatility::Immutable {
                assert!(scalar(function.name()).is_none(), "{}", function.name());
            }
        }
    }

    #[test]
    fn functions_that_databases_do_not_share_are_not_offered() {
        for name in UNLIKE {
            assert!(scalar(name).is_none(), "{name}");
            assert!(matches!(classify(name), Scalar::Unlike), "{name}");
        }
    }

    #[test]
    fn everyday_functions_are_there() {
        for name in ["coalesce", "nullif", "abs", "round", "lower", "substr", "date_trunc", "ln"] {
            assert!(scalar(name).is_some(), "{name}");
        }
        assert!(matches!(classify("lowr"), Scalar::Unknown(Some(near)) if near == "lower"));
    }
}
