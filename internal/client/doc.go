// Package client makes clients of the API: over the network, or straight into
// the API server's handler in the same process.
//
// Both ways are a rest.Config, so that every kind of client (typed, metadata,
// discovery, dynamic) can be made from it. Objects travel as protobuf, and no
// client holds itself back: the API server bounds what is in flight.
package client
