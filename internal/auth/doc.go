// Package auth says who a caller is and what it may do: the cluster's
// certificates, ServiceAccount tokens, authentication of requests, and
// authorisation.
//
// Invariants: nobody is let in without a credential beyond the few public
// paths; a certificate counts only when it chains to the cluster's own CA and
// was made for clients; a token counts only while what it is bound to exists;
// a private key reaches the disk in files of mode 0600 alone; and what no rule
// allows is denied.
package auth
