// Package pebble keeps the cluster's state in an embedded pebble database. It
// is the default backend of package store.
//
// One committer goroutine turns concurrent writes into one batch: it checks
// each compare-and-swap, assigns the revisions and hands the batch to pebble's
// log. While one batch is on its way to the disk the next is gathered. A
// finisher goroutine waits for the disk, shows the batch to the watches and
// then acknowledges its writes. Readers see only what was acknowledged.
//
// Invariants:
//   - A revision is handed out once. A range of revisions is reserved durably
//     ahead of use; after an unclean end the store goes on behind that range,
//     and the revisions that may have been seen and lost count as compacted.
//   - What is visible is durable, except lazy writes, which are synced within
//     a second.
//   - A full disk never reaches pebble, which could not go on after it: writes
//     are refused while space is short, and a file operation that finds no
//     space waits for it.
//   - Nothing wakes up without cause: timers are armed only for a pending sync
//     and for the earliest expiry.
package pebble
