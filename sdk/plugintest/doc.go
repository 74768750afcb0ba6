// Package plugintest checks that a plugin keeps the contracts of mcpool: what a host
// counts on, and no test of one's own thinks of.
//
// [Auth] runs a factory in process, the same that sdk.Auth takes. [Binary] runs what
// was built from it the way an operator's host does, and treats it badly: it kills
// it, stops it, feeds it garbage and takes its host away.
//
//	func TestContract(t *testing.T) {
//		plugintest.Auth(t, acme.New, plugintest.AuthOptions[acme.Config]{
//			Config: acme.Config{Key: auth.NewSecret("4711")},
//		})
//	}
//
// Both make a subtest per check. The options say how to make a provider that works,
// one that has to wait, and some that fail; what they leave out is not checked, and the
// subtest says so. Run the tests with -race: the checks bring the concurrency.
//
// # Time
//
// No check measures how long something takes. Where something has to happen, such as
// the end of a call whose context ended, the kit waits for Patience.
package plugintest
