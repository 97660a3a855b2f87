"""The attributes of an entry: where each stands, its VR, and what must not be empty.

From the Modality Worklist Information Model (PS3.4 K.6.1.2.2) and PS3.6. The VRs are here too because
importing pydicom takes longer than a run that has nothing to change.
"""

#: Attributes of the one item in ScheduledProcedureStepSequence, and their VRs.
STEP = {
    "ScheduledStationAETitle": "AE",
    "ScheduledProcedureStepStartDate": "DA",
    "ScheduledProcedureStepStartTime": "TM",
    "ScheduledProcedureStepEndDate": "DA",
    "ScheduledProcedureStepEndTime": "TM",
    "Modality": "CS",
    "ScheduledPerformingPhysicianName": "PN",
    "ScheduledProcedureStepDescription": "LO",
    "ScheduledStationName": "SH",
    "ScheduledProcedureStepLocation": "SH",
    "PreMedication": "LO",
    "ScheduledProcedureStepID": "SH",
    "RequestedContrastAgent": "LO",
    "ScheduledProcedureStepStatus": "CS",
    "CommentsOnTheScheduledProcedureStep": "LT",
}
#: Attributes at the root, and their VRs. An operator's template may add any other.
ROOT = {
    "RequestedProcedureID": "SH",
    "RequestedProcedureDescription": "LO",
    "StudyInstanceUID": "UI",
    "RequestedProcedurePriority": "SH",
    "PatientTransportArrangements": "LO",
    "AccessionNumber": "SH",
    "RequestingPhysician": "PN",
    "ReferringPhysicianName": "PN",
    "AdmissionID": "LO",
    "CurrentPatientLocation": "LO",
    "PatientName": "PN",
    "PatientID": "LO",
    "IssuerOfPatientID": "LO",
    "PatientBirthDate": "DA",
    "PatientSex": "CS",
    "PatientWeight": "DS",
    "PatientSize": "DS",
    "ConfidentialityConstraintOnPatientDataDescription": "LO",
    "PatientState": "LO",
    "PregnancyStatus": "US",
    "MedicalAlerts": "LO",
    "Allergies": "LO",
    "SpecialNeeds": "LO",
    "PatientComments": "LT",
}
#: Attributes at the root that an entry has only where something is known.
TYPE_3 = {"IssuerOfPatientID", "PatientSize", "PatientComments"}
#: Attributes of type 2: there and empty where nothing is known.
TYPE_2 = (ROOT.keys() - TYPE_3 - {"StudyInstanceUID", "RequestedProcedureDescription"}) | {
    "ScheduledPerformingPhysicianName",
    "ScheduledStationName",
    "ScheduledProcedureStepLocation",
}
#: Sequences of type 2. Without them the broker logs a warning an entry a query.
EMPTY_SEQUENCES = ("ReferencedStudySequence", "ReferencedPatientSequence")
#: Sequences of codes, in the step and at the root: the broker shows no others.
STEP_CODE_SEQUENCES = ("ScheduledProtocolCodeSequence",)
CODE_SEQUENCES = (*STEP_CODE_SEQUENCES, "RequestedProcedureCodeSequence")
#: Attributes of a code, and their VRs (PS3.3 table 8.8-1); which of them must not be empty.
CODE = {"CodeValue": "SH", "CodingSchemeDesignator": "SH", "CodingSchemeVersion": "SH", "CodeMeaning": "LO"}
CODE_REQUIRED = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
#: What the broker skips an entry without.
REQUIRED = {
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime",
    "Modality",
    "ScheduledProcedureStepID",
    "ScheduledProcedureStepDescription",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "StudyInstanceUID",
    "PatientName",
    "PatientID",
}
#: The values that there are (PS3.3 C.7.1.1).
ENUMERATED = {"PatientSex": ("M", "F", "O")}
#: Text that identifies something: it is taken as it is or not at all. Other text is made to fit.
IDENTIFIERS = {
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "AccessionNumber",
    "AdmissionID",
    "RequestedProcedureID",
    "ScheduledProcedureStepID",
    "ScheduledStationName",
    "CodeValue",
    "CodingSchemeDesignator",
    "CodingSchemeVersion",
}
#: The VRs of text in the scanner's character set, and the most characters of each (PN: of each of its groups).
TEXT_LENGTH = {"LO": 64, "LT": 10240, "PN": 64, "SH": 16, "ST": 1024, "UC": 2**16, "UT": 2**16}
#: The most groups of a PN, with `=` between them: in letters, in ideographs, as spoken (PS3.5 6.2.1).
NAME_GROUPS = 3
#: What a file without SpecificCharacterSet is written in; it has no defined term (PS3.3 C.12.1.1.2).
DEFAULT_CHARSET = "ISO_IR 6"
#: Python's codec for each character set (PS3.3 C.12.1.1.2) in which a backslash is only ever a backslash.
CODECS = {
    DEFAULT_CHARSET: "ascii",
    "ISO_IR 100": "iso8859_1",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 127": "iso8859_6",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 148": "iso8859_9",
    "ISO_IR 166": "tis_620",
    "ISO_IR 192": "utf_8",
}


def vr_of(keyword: str) -> str:
    """Return the attribute's value representation."""
    vr = STEP.get(keyword) or ROOT.get(keyword) or CODE.get(keyword)
    if vr is None:
        from pydicom.datadict import dictionary_VR  # noqa: PLC0415 - only templates come here

        vr = dictionary_VR(keyword)
    return vr
