// Package sdk will be what the author of a plugin binary calls from main: it
// serves one factory per kind of plugin and speaks to the host for it.
//
// Nothing is in this package yet. The contracts live below it, each kind of
// plugin in a package of its own with one small Go interface, so that code which
// compiles a plugin in links none of the machinery for binaries. Beside them
// will stand host, which verifies, starts and supervises plugin binaries, and
// plugintest, the tests that every plugin has to pass.
package sdk
