// Package sigv4server is what the examples need of AWS, on loopback: a handler that
// lets only requests through whose Signature Version 4 is right, and an STS that
// gives out sessions of a role. Both compute signatures from what arrived, with code
// that shares nothing with the signer.
package sigv4server
