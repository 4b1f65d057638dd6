//! Prints the schema as an empty database gets it; `tests/contract/schema.sqlite.sql` is its committed output.

fn main() {
    print!("{}", purser_store::rendered_schema("sqlite").expect("a known system"));
}
