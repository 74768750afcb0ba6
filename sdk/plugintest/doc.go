// Package plugintest checks that a plugin keeps the contracts of mcpool: what a host
// counts on, and no test of one's own thinks of.
//
// [Auth], [Transport], [Probe] and [Metrics] run a factory in process, the same that
// sdk.Auth and its siblings take. [Binary] runs what was built from it the way an
// operator's host does, and treats it badly: it kills it, stops it, feeds it garbage and
// takes its host away.
//
//	func TestContract(t *testing.T) {
//		plugintest.Auth(t, acme.New, plugintest.AuthOptions[acme.Config]{
//			Config: acme.Config{Key: auth.NewSecret("4711")},
//		})
//	}
//
// All make a subtest per check. The options say how to make a plugin that works, one that
// has to wait, and some that fail; what they leave out is not checked, and the subtest
// says so. Run the tests with -race: the checks bring the concurrency.
//
// # What the kinds need
//
// The connections of a transport lead to a [Peer], which the test puts behind the medium.
// It sends messages back, obeys the kit, and writes down what it gets. A prober is shown a
// [Target] of the test's and worse ones that the kit makes of it. The batches for a sink
// are the kit's; [MetricsOptions].Arrived tells whether they came.
//
// # Time
//
// No check measures how long something takes. Where something has to happen, such as
// the end of a call whose context ended, the kit waits for Patience.
package plugintest
