package image

// Registries says how registries are reached.
type Registries struct {
	// Mirrors are base URLs tried in order before the registry itself, by the
	// registry's host as it stands in names (docker.io); "*" is for all others.
	Mirrors map[string][]string
	// Insecure are hosts that may be reached over plain HTTP, or with a
	// certificate that nobody vouches for. Hosts on the loopback always may.
	Insecure []string
}
