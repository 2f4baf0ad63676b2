//! FOLIO as FOLIO is: the product on realms that are made as FOLIO's tenant manager makes them, set up by the documented
//! steps and nothing else. Every behaviour is shown with lightweight tokens, as FOLIO has them, and with regular ones.

mod administrators;
mod consortium;
mod jobs;
mod people;
mod stage;
mod take_over;
mod tenants;
mod the_realm;

/// Each behaviour becomes two tests: on a realm with lightweight tokens, and on one with regular ones.
macro_rules! with_both_shapes {
    ($($name:ident)*) => {
        mod lightweight {
            $(#[tokio::test] async fn $name() -> tokenvault_tests::harness::Result<()> {
                super::$name(crate::folio::stage::Shape::Lightweight).await
            })*
        }
        mod regular {
            $(#[tokio::test] async fn $name() -> tokenvault_tests::harness::Result<()> {
                super::$name(crate::folio::stage::Shape::Regular).await
            })*
        }
    };
}
pub(crate) use with_both_shapes;
