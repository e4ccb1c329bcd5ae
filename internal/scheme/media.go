package scheme

// MediaType is a form that objects are read and written in.
type MediaType uint8

const (
	JSON MediaType = iota
	YAML
	Protobuf
)

// String returns the name that Content-Type and Accept use.
func (m MediaType) String() string {
	switch m {
	case YAML:
		return "application/yaml"
	case Protobuf:
		return "application/vnd.kubernetes.protobuf"
	}
	return "application/json"
}

// Validation says what becomes of fields that the type lacks or that are given
// twice: the fieldValidation parameter.
type Validation uint8

const (
	// Ignore drops them silently.
	Ignore Validation = iota
	// Warn drops them and returns warnings.
	Warn
	// Strict fails.
	Strict
)
