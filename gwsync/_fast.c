/* What is done for every event and every call, without Python's cost for every step.
 *
 * Each function has a twin in Python, named in its docstring, which says what it is for, does the
 * same, and is used where this could not be built. What is not ordinary is left to Python code:
 * no error is judged in here.
 *
 * Only the stable ABI is used: one build serves every Python from 3.10 on.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

/* Attribute names, made once. */
static PyObject *seq_name, *name_name;

static int
is_ascii(const unsigned char *text, Py_ssize_t size)
{
    uint64_t all = 0, words[4];
    for (; size >= 32; text += 32, size -= 32) {
        memcpy(words, text, 32);
        all |= words[0] | words[1] | words[2] | words[3];
    }
    for (; size > 0; text++, size--)
        all |= *text;
    return (all & UINT64_C(0x8080808080808080)) == 0;
}

/* 1 or 0; -1 with an exception that is not about the text. */
static int
is_utf8(const unsigned char *text, Py_ssize_t size)
{
    PyObject *decoded;
    if (is_ascii(text, size))
        return 1;
    decoded = PyUnicode_DecodeUTF8((const char *)text, size, "strict");
    if (decoded != NULL) {
        Py_DECREF(decoded);
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        return -1;
    PyErr_Clear();
    return 0;
}

PyDoc_STRVAR(cut_texts_doc,
"cut_texts(data, position, most, messages)\n--\n\n"
"As gwsync.transport.framing.cut_texts.");

static PyObject *
cut_texts(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *data, *messages;
    Py_ssize_t position, most, end;
    const unsigned char *bytes;

    if (!PyArg_ParseTuple(args, "SnnO!:cut_texts", &data, &position, &most, &PyList_Type, &messages))
        return NULL;
    bytes = (const unsigned char *)PyBytes_AsString(data);
    end = PyBytes_Size(data);
    if (bytes == NULL || position < 0 || position > end) {
        PyErr_SetString(PyExc_ValueError, "the position is outside of the data");
        return NULL;
    }
    while (end - position > 3) {
        const unsigned char *head = bytes + position;
        Py_ssize_t start = position + 2, size = head[1];
        PyObject *message;
        int sound, failed;

        if (head[0] != 0x81 || size > 127)
            break;
        if (size > 125) {  /* a length of 16 or 64 bits, which is no longer than need be */
            int i, more = size == 126 ? 2 : 8;
            uint64_t length = 0;

            if (more > end - start)
                break;
            for (i = 0; i < more; i++)
                length = length << 8 | head[2 + i];
            start += more;
            if (length <= (more == 2 ? 125 : 65535) || length > (uint64_t)(end - start))
                break;
            size = (Py_ssize_t)length;
        }
        if (size > end - start || size > most)
            break;
        sound = is_utf8(bytes + start, size);
        if (sound < 0)
            return NULL;
        if (!sound)
            break;
        message = PyBytes_FromStringAndSize((const char *)bytes + start, size);
        if (message == NULL)
            return NULL;
        failed = PyList_Append(messages, message);
        Py_DECREF(message);
        if (failed)
            return NULL;
        position = start + size;
    }
    return PyLong_FromSsize_t(position);
}

/* Whether `got` is an event that only has to be passed on: 1 or 0, -1 with an exception. */
static int
is_next(PyObject *got, PyObject *noted, long long last, long long *seq)
{
    PyObject *value;
    int overflow = 0, found;

    value = PyObject_GetAttr(got, seq_name);
    if (value == NULL)
        return -1;
    if (!PyLong_CheckExact(value)) {
        Py_DECREF(value);
        return 0;
    }
    *seq = PyLong_AsLongLongAndOverflow(value, &overflow);
    Py_DECREF(value);
    if (*seq == -1 && !overflow && PyErr_Occurred())
        return -1;
    if (overflow || *seq == LLONG_MIN || *seq - 1 != last)
        return 0;
    value = PyObject_GetAttr(got, name_name);
    if (value == NULL)
        return -1;
    found = PySet_Contains(noted, value);
    Py_DECREF(value);
    return found < 0 ? -1 : !found;
}

PyDoc_STRVAR(take_ordinary_doc,
"take_ordinary(decode, kind, noted, refused, frames, at, most, last, pushes)\n--\n\n"
"As gwsync.protocol.sequence.take_ordinary, which knows the first four by itself.");

static PyObject *
take_ordinary(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *frames, *last_object, *pushes, *decode, *kind, *noted, *refused;
    Py_ssize_t at, most;
    long long last = -1, seq = 0;
    int counts, overflow = 0;

    if (!PyArg_ParseTuple(args, "OOOOO!nnOO!:take_ordinary", &decode, &kind, &noted, &refused,
                          &PyList_Type, &frames, &at, &most, &last_object, &PyList_Type, &pushes))
        return NULL;
    if (at < 0) {
        PyErr_SetString(PyExc_ValueError, "the first frame is before the first one");
        return NULL;
    }
    counts = last_object != Py_None;
    if (counts) {
        last = PyLong_AsLongLongAndOverflow(last_object, &overflow);
        if (last == -1 && !overflow && PyErr_Occurred())
            return NULL;
        counts = !overflow;
    }
    /* decode() is not ours: what it does to `frames` must not matter, so it is asked each time. */
    while (at < PyList_Size(frames)) {
        PyObject *frame = PyList_GetItem(frames, at), *got;
        Py_ssize_t size;
        int ordinary = 0;

        if (frame == NULL)
            return NULL;
        size = PyBytes_Size(frame);
        if (size < 0)
            return NULL;
        if (size > most)
            break;
        Py_INCREF(frame);
        got = PyObject_CallFunctionObjArgs(decode, frame, NULL);
        Py_DECREF(frame);
        if (got == NULL) {
            if (!PyErr_ExceptionMatches(refused))
                return NULL;
            PyErr_Clear();
            break;
        }
        at++;
        if (counts && (PyObject *)Py_TYPE(got) == kind) {
            ordinary = is_next(got, noted, last, &seq);
            if (ordinary > 0)
                ordinary = PyList_Append(pushes, got) ? -1 : 1;
        }
        if (ordinary < 0) {
            Py_DECREF(got);
            return NULL;
        }
        if (!ordinary)
            return counts ? Py_BuildValue("nLN", at, last, got)
                          : Py_BuildValue("nON", at, last_object, got);
        Py_DECREF(got);
        last = seq;
    }
    return counts ? Py_BuildValue("nLO", at, last, Py_None)
                  : Py_BuildValue("nOO", at, last_object, Py_None);
}

PyDoc_STRVAR(is_flat_doc,
"is_flat(value)\n--\n\n"
"As gwsync.protocol.frames.is_flat.");

static PyObject *
is_flat(PyObject *Py_UNUSED(module), PyObject *value)
{
    PyObject *key, *item;
    Py_ssize_t position = 0;
    int overflow = 0, flat = PyDict_CheckExact(value);

    while (flat && PyDict_Next(value, &position, &key, &item)) {
        flat = PyUnicode_CheckExact(key);
        if (PyLong_CheckExact(item)) {
            (void)PyLong_AsLongLongAndOverflow(item, &overflow);
            flat = flat && !overflow;  /* one of 64 bits may still do: the twin knows */
        }
        else
            flat = flat && (PyUnicode_CheckExact(item) || PyBool_Check(item) || item == Py_None);
    }
    /* Py_RETURN_TRUE of 3.12's headers counts no reference, and 3.11 does. */
    return PyBool_FromLong(flat);
}

PyDoc_STRVAR(frame_doc,
"frame(first, key, payload)\n--\n\n"
"As gwsync.transport.masking.frame: a whole masked frame, its first byte and its key given.");

static PyObject *
frame(PyObject *Py_UNUSED(module), PyObject *args)
{
    int first;
    const char *key, *payload;
    Py_ssize_t key_size, size, head = 2, i = 0;
    uint64_t mask, words[4];
    unsigned char *out;
    PyObject *whole;

    if (!PyArg_ParseTuple(args, "iy#y#:frame", &first, &key, &key_size, &payload, &size))
        return NULL;
    if (key_size != 4) {
        PyErr_SetString(PyExc_ValueError, "a key has four bytes");
        return NULL;
    }
    head += size < 126 ? 0 : size < 0x10000 ? 2 : 8;
    if (size > PY_SSIZE_T_MAX - head - 4)
        return PyErr_NoMemory();
    whole = PyBytes_FromStringAndSize(NULL, head + 4 + size);
    if (whole == NULL)
        return NULL;
    out = (unsigned char *)PyBytes_AsString(whole);
    out[0] = (unsigned char)first;
    out[1] = (unsigned char)(0x80 | (head == 2 ? size : head == 4 ? 126 : 127));
    for (i = 2; i < head; i++)
        out[i] = (unsigned char)((uint64_t)size >> 8 * (head - 1 - i));
    memcpy(out + head, key, 4);
    out += head + 4;
    memcpy(&mask, key, 4);
    memcpy((unsigned char *)&mask + 4, key, 4);
    for (i = 0; size - i >= 32; i += 32) {
        memcpy(words, payload + i, 32);
        words[0] ^= mask;
        words[1] ^= mask;
        words[2] ^= mask;
        words[3] ^= mask;
        memcpy(out + i, words, 32);
    }
    for (; i < size; i++)
        out[i] = (unsigned char)(payload[i] ^ key[i & 3]);
    return whole;
}

static PyMethodDef functions[] = {
    {"is_flat", is_flat, METH_O, is_flat_doc},
    {"frame", frame, METH_VARARGS, frame_doc},
    {"cut_texts", cut_texts, METH_VARARGS, cut_texts_doc},
    {"take_ordinary", take_ordinary, METH_VARARGS, take_ordinary_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "gwsync._fast", "Made from gwsync/_fast.c.", -1, functions,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__fast(void)
{
    if (seq_name == NULL)
        seq_name = PyUnicode_InternFromString("seq");
    if (name_name == NULL)
        name_name = PyUnicode_InternFromString("name");
    if (seq_name == NULL || name_name == NULL)
        return NULL;
    return PyModule_Create(&module);
}
