// Package nft changes one nftables table of this process's own, by netlink
// deltas.
//
// A Model holds what a table should contain, as fragments with an owner each (a
// Service, a pod). Setting a fragment and committing sends the kernel one
// atomic batch of exactly the differences; the ruleset is never listed, and
// rewritten only at start, or when the kernel refused a delta because the
// table is not what the Model believes. The table's name says whose it is, and
// no other table is ever touched.
//
// Expressions are encoded by google/nftables; the batch is written here,
// because one batch here may hold tens of thousands of elements: one
// acknowledgement for the whole of it, elements cut to messages, and the
// message that failed named in the error.
package nft
