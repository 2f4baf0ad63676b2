//! FOLIO as FOLIO is: the product on a realm that is made as FOLIO's tenant manager makes it, set up by the documented steps
//! and nothing else.

mod realm;
