//! The octets: golden vectors worked out from the RFCs by hand, properties, and what other decoders read.

mod differential;
mod golden;
mod properties;
mod random_values;
mod received;
