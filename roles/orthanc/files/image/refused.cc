/*
 * Preloaded into Orthanc (LD_PRELOAD), this library reports which SOP classes Orthanc refused to a scanner.
 *
 * Orthanc refuses a class when the association is negotiated, says so nowhere, and has no callback there. To accept
 * every class and refuse the image would change what a scanner does: one whose private class is refused may send the
 * same images as a standard class. So this library changes nothing. When Orthanc has answered a scanner that it knows,
 * the listener, refused.py, is called with each class of which it took no presentation context.
 */
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmnet/assoc.h>

#include <atomic>
#include <dlfcn.h>
#include <set>
#include <string>

#define EXPORTED __attribute__((visibility("default")))

using Listener = void (*)(const char *scanner, const char *sop_class);
using Acknowledge = OFCondition (*)(T_ASC_Association *, void **, unsigned long *);

static std::atomic<Listener> listener;

extern "C" EXPORTED void listen_to_refused(Listener given)
{
    listener = given;
}

static void report(Listener listening, T_ASC_Parameters *negotiated)
{
    std::set<std::string> accepted, refused;
    const int count = ASC_countPresentationContexts(negotiated);
    for (int at = 0; at < count; at++) {
        T_ASC_PresentationContext context;
        if (ASC_getPresentationContext(negotiated, at, &context).good())
            (context.resultReason == ASC_P_ACCEPTANCE ? accepted : refused).insert(context.abstractSyntax);
    }
    for (const std::string &sop_class : refused)
        if (!accepted.count(sop_class))
            listening(negotiated->DULparams.callingAPTitle, sop_class.c_str());
}

EXPORTED OFCondition ASC_acknowledgeAssociation(T_ASC_Association *association, void **pdu, unsigned long *length)
{
    static const auto original =
        reinterpret_cast<Acknowledge>(dlsym(RTLD_NEXT, "_Z26ASC_acknowledgeAssociationP17T_ASC_AssociationPPvPm"));
    const OFCondition done = original(association, pdu, length);
    const Listener listening = listener;
    if (listening && done.good()) {
        try {
            report(listening, association->params);
        } catch (...) { // no memory: the association goes on
        }
    }
    return done;
}
