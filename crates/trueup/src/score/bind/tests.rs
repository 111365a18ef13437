//! Inputs and outputs as exporters declare them, and what is said of those that do not fit.

use super::*;
use trueup_sql::{SourceFile, compile};

const SQL: &str = "
CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, card BIGINT, merchant VARCHAR, amount DECIMAL(12,2),
  speed DOUBLE, online BOOLEAN
) WITH (event_time = 'at');
CREATE VIEW risk AS
SELECT id, at, merchant, amount, speed, online, count(*) OVER hour AS n FROM payments
WINDOW hour AS (PARTITION BY card ORDER BY at
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)";

fn view() -> View {
    let file = SourceFile { name: "test.sql".into(), text: SQL.into() };
    compile(&[file]).unwrap_or_else(|errors| panic!("{errors}")).views[0].clone()
}

fn tensor(name: &str, element: Element, shape: &[i64]) -> Declared {
    let form = Form::Tensor(element, shape.to_vec());
    Declared { name: name.into(), form, told: format!("{element:?} {shape:?}") }
}

fn ordered(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

#[test]
fn one_wide_input_takes_columns_in_the_order_that_is_said() {
    let names = ordered(&["n", "amount", "n"]);
    for shape in [[-1, 3], [-1, -1]] {
        let input = tensor("x", Element::Float, &shape);
        let bound = bind(&view(), &[input], Some(&names)).unwrap();
        assert_eq!(bound.columns, [6, 3], "each column is retrieved once");
        assert_eq!(bound.feeds[0].places, [0, 1, 0]);
        assert!(bound.feeds[0].is_wide);
    }
}

#[test]
fn several_inputs_take_the_columns_of_their_names() {
    let inputs = [
        tensor("merchant", Element::Text, &[-1, 1]),
        tensor("n", Element::Int, &[-1]),
        tensor("online", Element::Bool, &[-1, 1]),
        tensor("speed", Element::Double, &[-1, 1]),
    ];
    // What a script writes into every model it makes does not hinder.
    for columns in [None, Some(ordered(&["n", "speed"]))] {
        let bound = bind(&view(), &inputs, columns.as_deref()).unwrap();
        assert_eq!(bound.columns, [2, 6, 5, 4]);
        assert!(!bound.feeds[1].is_wide);
    }
}

#[test]
fn what_does_not_fit_is_refused_by_its_name() {
    let names = ordered(&["n", "amount"]);
    let other = Declared { name: "x".into(), form: Form::Other, told: "Tensor<f16>(3)".into() };
    let float = |shape: &[i64]| tensor("x", Element::Float, shape);
    for (inputs, ordered, part) in [
        (vec![float(&[-1, 4])], None, "there are three ways: columns = [...]"),
        (vec![float(&[-1, 3])], Some(&names), "2 columns are named: n, amount"),
        (vec![float(&[1, 2])], Some(&names), "with a free first dimension"),
        (vec![float(&[-1, 2, 2])], Some(&names), "inputs are [N, 1] or [N]"),
        (vec![float(&[])], None, "inputs are [N, 1] or [N]"),
        (vec![float(&[-1, 1])], None, "wants a column x, which view risk has not"),
        (vec![other], None, "Tensor<f16>(3), which no column fills"),
        (vec![tensor("speed", Element::Int, &[-1, 1])], None, "column speed is DOUBLE"),
        (vec![tensor("merchant", Element::Float, &[-1])], None, "column merchant is VARCHAR"),
        (vec![tensor("at", Element::Float, &[-1])], None, "column at is TIMESTAMP"),
        (vec![], None, "no inputs"),
    ] {
        let why = bind(&view(), &inputs, ordered.map(Vec::as_slice)).unwrap_err();
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn the_score_is_in_the_only_output_that_can_have_it_or_in_the_named_one() {
    let label = || tensor("label", Element::Int, &[-1]);
    let zipped =
        || Declared { name: "p".into(), form: Form::Maps(Classes::Names), told: "maps".into() };
    let wide = |name: &str| tensor(name, Element::Float, &[-1, 2]);
    let found = |outputs: &[Declared], named| output(outputs, named).map(|it| (it.name, it.read));
    let is = |name: &str, read| Ok((name.to_string(), read));
    assert_eq!(found(&[label(), wide("p")], None), is("p", Read::Floats));
    assert_eq!(found(&[label(), zipped()], None), is("p", Read::Maps(Classes::Names)));
    assert_eq!(found(&[wide("p"), wide("q")], Some("q")), is("q", Read::Floats));
    let double = tensor("y", Element::Double, &[]);
    assert_eq!(found(&[double], None), is("y", Read::Doubles));
    for (outputs, named, part) in [
        (vec![wide("p"), wide("q")], None, "name one by output = \"NAME\""),
        (vec![label()], None, "no output has numbers"),
        (vec![label()], Some("label"), "output label is Int [-1]"),
        (vec![label()], Some("p"), "no output p; it has: label (Int [-1])"),
        (vec![tensor("p", Element::Float, &[-1, 2, 2])], None, "no output has numbers"),
    ] {
        let why = output(&outputs, named).unwrap_err();
        assert!(why.contains(part), "{why}");
    }
}
