package config

import "net/netip"

// A node answers its machine's root over HTTP on the unix socket RunDir/clipper.sock:
//
//	GET  /node     what the node is, Node
//	GET  /images   the images it holds, []Image
//	POST /images   loads an archive (docker save, or an OCI layout; gzip or not)
//	               and returns the names it held, []string
//
// An error is a status of 400 and up with one line of text.

// SocketName is the socket's file in RunDir.
const SocketName = "clipper.sock"

// Node is what a node says of itself.
type Node struct {
	// PodCIDR is its share of the pods' network.
	PodCIDR netip.Prefix `json:"podCIDR"`
}

// Image is one image that a node holds.
type Image struct {
	ID      string   `json:"id"`
	Tags    []string `json:"tags"`
	Digests []string `json:"digests,omitempty"`
	// Size is what its layers take, in bytes.
	Size uint64 `json:"size"`
}
