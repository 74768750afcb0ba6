package plugintest

func play(string) bool { return false }
