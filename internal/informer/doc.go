// Package informer fills client-go's shared informers from the watch cache of
// an API server in this process, or from the network.
//
// In this process nothing is sent, encoded or decoded: the objects in the
// informers' indexes are the very objects of the watch cache, shared by all and
// never changed. Only the kinds that a component asks for are watched, there is
// no periodic resync, and an informer wakes only when an object changes.
package informer
