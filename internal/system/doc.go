// Package system is the composition root: it builds a server or an agent, or
// both in one process, out of the parts below it, starts them in order and
// stops them in reverse.
//
// It alone knows all parts. Where one part's interface and another's type do
// not meet, the adapter is here.
package system
