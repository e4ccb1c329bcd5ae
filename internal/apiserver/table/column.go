package table

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

func columns(c ...metav1.TableColumnDefinition) []metav1.TableColumnDefinition { return c }

var (
	name    = metav1.TableColumnDefinition{Name: "Name", Type: "string", Format: "name", Description: "Name of the object, unique among its kind in its namespace."}
	age     = text("Age", "Time since the object was created.")
	created = metav1.TableColumnDefinition{Name: "Created At", Type: "date", Description: "When the object was created."}
)

// Columns of objects that run pods, shown when wide.
var (
	containers = wide(text("Containers", "Names of the containers in the template."))
	images     = wide(text("Images", "Images of the containers in the template."))
	selector   = wide(text("Selector", "Labels of the pods that belong to the object."))
)

func text(name, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "string", Description: description}
}

func integer(name, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "integer", Description: description}
}

func boolean(name, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "boolean", Description: description}
}

// wide shows a column only to those who ask for more.
func wide(c metav1.TableColumnDefinition) metav1.TableColumnDefinition {
	c.Priority = 1
	return c
}
