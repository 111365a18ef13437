//! The compiled form of definitions: what ingest, serving, training and audit work from.

use crate::digest::{Canon, Digest};
use crate::error::SourceFile;
use crate::evaluate::RowExpr;
use crate::schema::Stream;
use crate::stream::describe;
use arrow::datatypes::{DataType, SchemaRef};
use std::sync::Arc;

/// All that a set of SQL files declares.
#[derive(Clone, Debug)]
pub struct Definitions {
    /// The event streams, in the order of the files.
    pub streams: Vec<Arc<Stream>>,
    /// The groups that the views share, by name and digest.
    pub groups: Vec<GroupDef>,
    /// The feature sets, in the order of the files.
    pub views: Vec<View>,
    /// The files, as they were compiled.
    pub files: Vec<SourceFile>,
}

/// One group: which events of which stream are kept per key, and what is computed from them.
#[derive(Clone, Debug)]
pub struct GroupDef {
    /// A readable name: `transactions/user_id`, `transactions/merchant_id/bin=1m`. The digest is
    /// what tells groups apart.
    pub name: String,
    /// Index of its stream.
    pub stream: usize,
    /// The stream's columns that make the key, ascending.
    pub keys: Vec<usize>,
    /// Over the stream's columns: events for which this is not true are not recorded.
    pub filter: Option<RowExpr>,
    /// Over the stream's columns: the argument and filter columns that a record carries.
    pub slots: Vec<RowExpr>,
    /// What `core` needs to know.
    pub core: trueup_core::Group,
    /// Names the group's state: changes whenever the bytes or the answers could.
    pub digest: Digest,
}

/// One feature set.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Its statement, as written.
    pub sql: String,
    /// Index of the stream that its rows come from.
    pub stream: usize,
    /// Over the stream's columns: rows for which this is not true are not in the view.
    pub filter: Option<RowExpr>,
    /// The keys whose state a row needs.
    pub lookups: Vec<Lookup>,
    /// The select list.
    pub outputs: Vec<Output>,
    /// Schema of the rows that outputs are evaluated on: the stream's columns, then one column for
    /// each aggregate of each lookup, in that order.
    pub row_schema: SchemaRef,
    /// The same where all may be NULL: of a look-up, which has no row, and of a training set.
    pub loose_schema: SchemaRef,
    /// Changes whenever a value of this view could.
    pub digest: Digest,
}

/// The state that a view reads for a row, by one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Index of the group.
    pub group: usize,
    /// The columns of the view's stream that give the key, in the order of the group's keys.
    pub keys: Vec<usize>,
    /// Whether NULL in a key column is a key like any other (windows) or equals nothing (correlated
    /// subqueries).
    pub null_matches: bool,
    /// The aggregates of the group that are needed.
    pub aggregates: Vec<usize>,
}

/// One column of a view.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: DataType,
    /// Over [`View::row_schema`].
    pub expr: RowExpr,
    /// The stream's columns that it uses.
    pub row_columns: Vec<usize>,
    /// The features that it uses, counted from 0 behind the stream's columns of
    /// [`View::row_schema`].
    pub features: Vec<usize>,
}

impl Definitions {
    /// Names all of it: changes whenever a stream, a view or a value of one could, and with nothing
    /// else.
    pub fn digest(&self) -> Digest {
        let mut canon = Canon::new("definitions");
        let mut streams: Vec<&Arc<Stream>> = self.streams.iter().collect();
        streams.sort_by_key(|stream| &stream.name);
        streams.iter().for_each(|stream| describe(stream, &mut canon));
        let mut views: Vec<&View> = self.views.iter().collect();
        views.sort_by_key(|view| &view.name);
        for View { name, digest, .. } in views {
            canon.line(format_args!("view {name:?} {digest}"));
        }
        canon.digest()
    }

    /// The stream called `name`.
    pub fn stream(&self, name: &str) -> Option<&Arc<Stream>> {
        self.streams.iter().find(|stream| stream.name == name)
    }

    /// The view called `name`.
    pub fn view(&self, name: &str) -> Option<&View> {
        self.views.iter().find(|view| view.name == name)
    }
}

impl View {
    /// The lookup and the aggregate within it that feature number `feature` comes from, both by
    /// their place in [`View::lookups`] and [`Lookup::aggregates`].
    pub fn feature(&self, feature: usize) -> Option<(usize, usize)> {
        let mut rest = feature;
        for (place, lookup) in self.lookups.iter().enumerate() {
            match rest.checked_sub(lookup.aggregates.len()) {
                None => return Some((place, rest)),
                Some(beyond) => rest = beyond,
            }
        }
        None
    }

    /// The type of each feature of a lookup, in the order of [`Lookup::aggregates`]; empty for a
    /// lookup that the view has not.
    pub fn types_of(&self, lookup: usize) -> Vec<DataType> {
        let count = |lookup: &Lookup| lookup.aggregates.len();
        let own = self.row_width();
        let before: usize = self.lookups.iter().take(lookup).map(count).sum();
        let fields = self.row_schema.fields().iter().skip(own + before);
        let fields = fields.take(self.lookups.get(lookup).map_or(0, count));
        fields.map(|field| field.data_type().clone()).collect()
    }

    /// How many columns of the row schema are the stream's.
    pub fn row_width(&self) -> usize {
        self.row_schema.fields().len() - self.feature_count()
    }

    /// How many features the row schema holds behind the stream's columns.
    pub fn feature_count(&self) -> usize {
        self.lookups.iter().map(|lookup| lookup.aggregates.len()).sum()
    }
}
