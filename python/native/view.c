/*
 * view.c: the Python module nvm._view: read-only buffers of mapped memory that keep what maps it.
 *
 * A Pin stands for something that must not go while anybody looks at its bytes, and counts who does. It makes
 * memoryviews; each holds its View, the View its Pin, the Pin the owner of the mapping. None of them writes, and no
 * cycle can go through them: the owner is a cffi handle.
 *
 * Threads  Python's lock guards the counts.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

struct pin {
	PyObject ob_base; /* as PyObject_HEAD has it */
	PyObject *owner;
	struct pin *whole; /* NULL, or what this is a part of */
	Py_ssize_t views;  /* buffers that somebody holds */
	Py_ssize_t shuts;  /* how many want that no view is made */
};

struct view {
	PyObject ob_base;
	struct pin *pin;
	void *data;
	Py_ssize_t bytes;
};

static int view_getbuffer(PyObject *self, Py_buffer *buffer, int flags)
{
	struct view *view = (struct view *)self;

	if (PyBuffer_FillInfo(buffer, self, view->data, view->bytes, 1, flags))
		return -1;
	for (struct pin *pin = view->pin; pin; pin = pin->whole)
		pin->views++;
	return 0;
}

static void view_releasebuffer(PyObject *self, Py_buffer *buffer)
{
	(void)buffer;
	for (struct pin *pin = ((struct view *)self)->pin; pin; pin = pin->whole)
		pin->views--;
}

static void view_dealloc(PyObject *self)
{
	Py_XDECREF((PyObject *)((struct view *)self)->pin);
	Py_TYPE(self)->tp_free(self);
}

static PyBufferProcs view_as_buffer = {view_getbuffer, view_releasebuffer};

static PyTypeObject view_type = {
	PyVarObject_HEAD_INIT(NULL, 0).tp_name = "nvm._view.View",
	.tp_basicsize = sizeof(struct view),
	.tp_dealloc = view_dealloc,
	.tp_as_buffer = &view_as_buffer,
	.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.tp_doc = "Bytes of a mapping; made by Pin.view.",
};

static PyObject *pin_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
	static char *names[] = {"owner", "whole", NULL};
	PyObject *owner, *whole = NULL;

	if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|O!", names, &owner, type, &whole))
		return NULL;
	struct pin *pin = (struct pin *)type->tp_alloc(type, 0);
	if (!pin)
		return NULL;
	pin->owner = Py_NewRef(owner);
	pin->whole = (struct pin *)Py_XNewRef(whole);
	return (PyObject *)pin;
}

static void pin_dealloc(PyObject *self)
{
	Py_XDECREF(((struct pin *)self)->owner);
	Py_XDECREF((PyObject *)((struct pin *)self)->whole);
	Py_TYPE(self)->tp_free(self);
}

static PyObject *pin_view(PyObject *self, PyObject *arguments)
{
	unsigned long long address;
	Py_ssize_t bytes;

	if (!PyArg_ParseTuple(arguments, "Kn", &address, &bytes))
		return NULL;
	for (const struct pin *pin = (struct pin *)self; pin; pin = pin->whole) {
		if (!pin->shuts)
			continue;
		PyErr_SetString(PyExc_ValueError, "what the view would show is closed or removed");
		return NULL;
	}
	if (bytes < 0) {
		PyErr_SetString(PyExc_ValueError, "a view has no negative size");
		return NULL;
	}
	struct view *view = PyObject_New(struct view, &view_type);
	if (!view)
		return NULL;
	view->pin = (struct pin *)Py_NewRef(self);
	view->data = (void *)(uintptr_t)address;
	view->bytes = bytes;
	PyObject *seen = PyMemoryView_FromObject((PyObject *)view);
	Py_DECREF((PyObject *)view);
	return seen;
}

static PyObject *pin_views(PyObject *self, void *closure)
{
	(void)closure;
	return PyLong_FromSsize_t(((struct pin *)self)->views);
}

static PyObject *pin_shut(PyObject *self, PyObject *nothing)
{
	struct pin *pin = (struct pin *)self;

	(void)nothing;
	if (pin->views)
		Py_RETURN_FALSE;
	pin->shuts++;
	Py_RETURN_TRUE;
}

static PyObject *pin_reopen(PyObject *self, PyObject *nothing)
{
	struct pin *pin = (struct pin *)self;

	(void)nothing;
	if (pin->shuts)
		pin->shuts--;
	Py_RETURN_NONE;
}

static PyMethodDef pin_methods[] = {
	{"view", pin_view, METH_VARARGS, "view(address, size) -> read-only memoryview that keeps this pin"},
	{"shut", pin_shut, METH_NOARGS,
	 "shut() -> bool: no view is made until as many reopen(); False, and nothing done, if there are some"},
	{"reopen", pin_reopen, METH_NOARGS, "reopen(): takes one shut() back"},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef pin_attributes[] = {
	{"views", pin_views, NULL, "how many buffers somebody holds", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject pin_type = {
	PyVarObject_HEAD_INIT(NULL, 0).tp_name = "nvm._view.Pin",
	.tp_basicsize = sizeof(struct pin),
	.tp_new = pin_new,
	.tp_dealloc = pin_dealloc,
	.tp_methods = pin_methods,
	.tp_getset = pin_attributes,
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_doc = "Pin(owner, whole=None): counts the views of what owner keeps mapped; they count for whole, too.",
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "nvm._view", .m_size = -1};

PyMODINIT_FUNC PyInit__view(void);
PyMODINIT_FUNC PyInit__view(void)
{
	if (PyType_Ready(&view_type) || PyType_Ready(&pin_type))
		return NULL;
	PyObject *made = PyModule_Create(&module);
	if (made && PyModule_AddObjectRef(made, "Pin", (PyObject *)&pin_type)) {
		Py_DECREF(made);
		return NULL;
	}
	return made;
}
