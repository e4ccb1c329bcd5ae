// Package scheme holds the table of kinds and all that follows from a kind's
// type alone: codecs, defaults, conversions between served versions, selectable
// fields, patches and field ownership.
//
// Discovery, routes, storage, OpenAPI and RBAC all read the one table. Objects
// have one form only, the Go struct of k8s.io/api for the stored version; a
// kind that is served in several versions converts at the edge.
package scheme
